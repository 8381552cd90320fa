// The inference pipeline in the browser: both .tflite files, run by LiteRT.js on this device.

import { fetchFile, readContract } from "./model_file.js";
import { cropFace, isDoubtful, openFaceDetector } from "./faces.js";
import { readPixels } from "./pixels.js";

/**
 * Load the runtime and both models.
 *
 * `litert` is the module @litertjs/core, `wasm` the URL of its folder of WebAssembly files (or of one
 * variant), `classifier` and `faces` are the URLs of the model files.
 */
export async function openDetector({ litert, wasm, classifier, faces }) {
  // The runtime is global, and refuses to be loaded twice.
  await (litert.getGlobalLiteRtPromise() ?? litert.loadLiteRt(String(wasm)));
  const [file, detectFaces] = await Promise.all([fetchFile(classifier), openFaceDetector(litert, faces)]);
  return new Detector(litert, readContract(file), detectFaces, await litert.loadAndCompile(file, { accelerator: "wasm" }));
}

/** Labels each face of an image as happy, sad or uncertain. Open one with `openDetector`. */
export class Detector {
  #litert;
  #detectFaces;
  #network;

  constructor(litert, info, detectFaces, network) {
    this.info = info;
    this.#litert = litert;
    this.#detectFaces = detectFaces;
    this.#network = network;
  }

  /** The faces of an image, the largest first; an empty array where there is none. */
  async detect(source) {
    const image = readPixels(source instanceof Blob ? await createImageBitmap(source) : source);
    const { input_size: size, crop_margin: margin, crop_level: level } = this.info;
    const faces = [];
    for (const face of await this.#detectFaces(image)) {
      const answer = await this.#classify(cropFace(image, face, size, margin, level), size);
      if (isDoubtful(face, image)) answer.label = "uncertain";
      faces.push({ ...face, ...answer });
    }
    return faces;
  }

  async #classify(crop, size) {
    const input = new this.#litert.Tensor(crop, [1, size, size, 3]);
    const outputs = await this.#network.run([input]);
    const [sad, happy] = await outputs[0].data();
    for (const tensor of [input, ...outputs]) tensor.delete();
    const certain = Math.max(happy, sad) >= this.info.threshold;
    return {
      label: certain ? (happy >= sad ? "happy" : "sad") : "uncertain",
      scores: { happy, sad, neither: Math.max(0, 1 - happy - sad) },
      probability: happy / (happy + sad),
    };
  }
}
