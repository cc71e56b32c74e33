// Writes the embedding that a run packed into the carrier's own text box.
import { app } from "../../scripts/app.js";

app.registerExtension({
  name: "TextualInversion.EmbeddingCarrier",
  beforeRegisterNodeDef(nodeType, nodeData) {
    if (nodeData.name !== "TI_EmbeddingCarrier") return;
    const onExecuted = nodeType.prototype.onExecuted;
    nodeType.prototype.onExecuted = function (output) {
      onExecuted?.apply(this, arguments);
      const packed = output?.carried?.[0];
      const box = this.widgets?.find((widget) => widget.name === "data");
      if (!packed || !box || box.value === packed) return;
      box.value = packed;
      box.callback?.(packed);
      app.graph.setDirtyCanvas(true, true);
      // So that the page knows that the workflow has changed, as after typing.
      const tracker = app.extensionManager?.workflow?.activeWorkflow?.changeTracker;
      (tracker?.captureCanvasState ?? tracker?.checkState)?.call(tracker);
    };
  },
});
