// Answer on this device, with the models that the server uses.

import { openDetector } from "./detector.js";

const RUNTIME = new URL("litert/core", document.baseURI).href;

/** Load runtime and models; resolves to a function from a canvas or a bitmap to a record as the server's. */
export async function openDevice() {
  const detector = await openDetector({
    litert: await import(`${RUNTIME}/dist/index.js`),
    // A folder, from which the runtime chooses a variant for this browser, or one variant.
    wasm: `${RUNTIME}/${document.documentElement.dataset.runtime}`,
    classifier: "model.tflite",
    faces: "faces.tflite",
  });
  return async (image) => {
    const { width, height } = image;
    const faces = (await detector.detect(image)).map(rounded);
    return { schema: 2, path: "-", status: faces.length ? "ok" : "no face", width, height, faces };
  };
}

/** A face with the decimals of the server's records. */
function rounded({ box, landmarks, confidence, label, scores, probability }) {
  const to = (digits) => (value) => Number(value.toFixed(digits));
  return {
    box: box.map(to(1)),
    landmarks: landmarks.map((point) => point.map(to(1))),
    confidence: to(4)(confidence),
    label,
    scores: Object.fromEntries(Object.entries(scores).map(([name, score]) => [name, to(6)(score)])),
    probability: to(6)(probability),
  };
}
