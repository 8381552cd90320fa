// happysad for web applications; see README.md.

import * as litert from "@litertjs/core";

import { openDetector as open } from "./detector.js";

const at = (path) => new URL(path, import.meta.url).href;

export const openDetector = ({
  wasm = at("../@litertjs/core/wasm/"),
  classifier = at("models/happysad.tflite"),
  faces = at("models/faces.tflite"),
} = {}) => open({ litert, wasm, classifier, faces });
