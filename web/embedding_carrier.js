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
      if (packed && box && box.value !== packed) box.value = packed;
    };
  },
});
