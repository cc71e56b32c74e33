// Shows what a run has to tell about a node, such as its report, on the node itself.
import { app } from "../../scripts/app.js";

const PREFIX = "TI_";
const WIDGET = "told";
const LINE = 15;
const FEWEST_LINES = 2;
const MOST_LINES = 10;
const CHARACTER = 6.5;

app.registerExtension({
  name: "TextualInversion.NodeTexts",

  beforeRegisterNodeDef(nodeType, nodeData) {
    if (!nodeData.name.startsWith(PREFIX)) return;
    const onExecuted = nodeType.prototype.onExecuted;
    nodeType.prototype.onExecuted = function (output) {
      onExecuted?.apply(this, arguments);
      show(this, output);
    };
  },

  // The page comes back to a workflow that has run: its nodes are made anew, without their texts.
  onNodeOutputsUpdated(outputs) {
    for (const [id, output] of Object.entries(outputs ?? {})) {
      const node = app.graph?.getNodeById(id);
      if (node?.comfyClass?.startsWith(PREFIX)) show(node, output);
    }
  },
});

function show(node, output) {
  const text = output?.text;
  if (!text?.length) return;
  const told = [].concat(text).join("\n");
  const widget = node.widgets?.find((each) => each.name === WIDGET) ?? added(node);
  if (widget.element.value === told) return;
  widget.element.value = told; // as text: it may come from a file that somebody else made
  const height = needed(told, node.size[0]);
  widget.element.style.minHeight = `${height}px`;
  widget.options.getMinHeight = () => height;
  const room = node.computeSize()[1];
  if (room > node.size[1]) node.setSize([node.size[0], room]);
  app.graph.setDirtyCanvas(true, true);
  setTimeout(() => placed(node, widget.element), 300);
}

// The first versions of Nodes 2.0 overlook a widget that a node gets later.
function placed(node, element) {
  if (element.isConnected || !globalThis.LiteGraph?.vueNodesMode) return;
  document.querySelector(`[data-node-id="${node.id}"] .lg-node-widgets`)?.append(element);
}

function added(node) {
  const element = document.createElement("textarea");
  element.readOnly = true;
  element.spellcheck = false;
  element.className = "comfy-multiline-input";
  Object.assign(element.style, { width: "100%", height: "100%", resize: "none", opacity: "0.85" });
  const widget = node.addDOMWidget(WIDGET, WIDGET, element, {
    serialize: false,
    getValue: () => element.value,
    setValue: () => {},
  });
  widget.serialize = false; // neither in the prompt nor in the saved workflow
  return widget;
}

function needed(text, width) {
  const room = Math.max(20, Math.floor((width - 30) / CHARACTER));
  const lines = text.split("\n").reduce((sum, line) => sum + 1 + Math.floor(line.length / room), 0);
  return 8 + LINE * Math.min(Math.max(lines, FEWEST_LINES), MOST_LINES);
}
