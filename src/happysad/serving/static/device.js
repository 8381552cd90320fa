// Answer on this device, with the models that the server uses.

import { openDetector } from "./detector.js";

const RUNTIME = new URL("litert/core", document.baseURI).href;

/** Load runtime and models; resolves to a function from an image on a canvas to a record. */
export async function openDevice() {
  const detector = await openDetector({
    litert: await import(`${RUNTIME}/dist/index.js`),
    // A folder, from which the runtime chooses a variant for this browser, or one variant.
    wasm: `${RUNTIME}/${document.documentElement.dataset.runtime}`,
    classifier: "model.tflite",
    faces: "faces.tflite",
  });
  return async (canvas) => (
    { status: "ok", width: canvas.width, height: canvas.height, faces: await detector.detect(canvas) }
  );
}
