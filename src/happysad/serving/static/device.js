// Answer on this device: the same two .tflite files that the server uses, run by LiteRT.js.

import { cropFace, openFaceDetector } from "./faces.js";
import { readPixels } from "./pixels.js";

const RUNTIME = new URL("litert/core", document.baseURI).href;

/** Load runtime and models; resolves to a function from an image on a canvas to a record. */
export async function openDevice(info) {
  const runtime = await import(`${RUNTIME}/dist/index.js`);
  // A folder, from which the runtime chooses a variant for this browser, or one variant.
  await runtime.loadLiteRt(`${RUNTIME}/${document.documentElement.dataset.runtime}`);
  const detect = await openFaceDetector(runtime, "faces.tflite");
  const classifier = await runtime.loadAndCompile("model.tflite", { accelerator: "wasm" });
  const size = info.input_size;

  async function classify(crop) {
    const input = new runtime.Tensor(crop, [1, size, size, 3]);
    const outputs = await classifier.run([input]);
    const [sad, happy] = await outputs[0].data();
    for (const tensor of [input, ...outputs]) tensor.delete();
    const label = Math.max(happy, sad) < info.threshold ? "uncertain" : happy >= sad ? "happy" : "sad";
    const scores = { happy, sad, neither: Math.max(0, 1 - happy - sad) };
    return { label, scores, probability: happy / (happy + sad) };
  }

  return async (canvas) => {
    const faces = [];
    const image = readPixels(canvas);
    for (const face of await detect(image)) {
      faces.push({ ...face, ...(await classify(cropFace(image, face, size, info.crop_margin, info.crop_level))) });
    }
    return { status: "ok", width: canvas.width, height: canvas.height, faces };
  };
}
