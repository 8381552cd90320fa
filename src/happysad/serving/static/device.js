// Answer on this device: the same .tflite file that the server uses, run by LiteRT.js.

import { shrink } from "./resize.js";

const RUNTIME = "/litert/core";

/** The centred square in which the face has to be: left, top and side. */
export function guide(width, height) {
  const side = Math.min(width, height);
  return [(width - side) / 2, (height - side) / 2, side];
}

/** Load runtime and model; resolves to a function from an image on a canvas to a record. */
export async function openDevice(info) {
  const { loadLiteRt, loadAndCompile, Tensor } = await import(`${RUNTIME}/dist/index.js`);
  await loadLiteRt(`${RUNTIME}/wasm/`);
  const model = await loadAndCompile("/model.tflite", { accelerator: "wasm" });
  const size = info.input_size;

  return async (canvas) => {
    const [left, top, side] = guide(canvas.width, canvas.height).map(Math.round);
    const pixels = canvas.getContext("2d", { willReadFrequently: true }).getImageData(left, top, side, side);
    const input = new Tensor(shrink(pixels, size), [1, size, size, 3]);
    const outputs = await model.run([input]);
    const [sad, happy] = await outputs[0].data();
    for (const tensor of [input, ...outputs]) tensor.delete();
    const label = Math.max(happy, sad) < info.threshold ? "uncertain" : happy >= sad ? "happy" : "sad";
    const scores = { happy, sad, neither: Math.max(0, 1 - happy - sad) };
    return { status: "ok", width: canvas.width, height: canvas.height,
      faces: [{ box: [left, top, side, side], label, scores, probability: happy / (happy + sad) }] };
  };
}
