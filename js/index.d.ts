/** An image: anything that a canvas can draw (not an SVG image element), pixels, or an image file. */
export type ImageSource = Exclude<CanvasImageSource, SVGImageElement> | ImageData | Blob;

/** Where files are; the defaults fit a server that serves `node_modules`. */
export interface Options {
  /** URL of the folder `@litertjs/core/wasm/`, or of one of the scripts in it. */
  wasm?: string | URL;
  /** URL of a classifier that `happysad export` wrote. */
  classifier?: string | URL;
  /** URL of `faces.tflite`. */
  faces?: string | URL;
}

/** Shares of people, from 0 to 1, who would call the face so. */
export interface Scores {
  happy: number;
  sad: number;
  neither: number;
}

/** A face, and how it looks; lengths are in pixels of the image. */
export interface Face {
  /** The higher of the two scores, if it reaches the model's threshold and the detector is confident. */
  label: "happy" | "sad" | "uncertain";
  scores: Scores;
  /** P(happy) among happy and sad. */
  probability: number;
  /** Left, top, width and height. */
  box: [number, number, number, number];
  /** x and y of right eye, left eye, nose, right and left corner of the mouth. */
  landmarks: [number, number][];
  /** Of the face detector, from 0 to 1. */
  confidence: number;
}

/** Open one with `openDetector`. */
export interface Detector {
  /** The classifier's metadata, such as its threshold and its precision. */
  readonly info: { threshold: number; input_size: number; precision: string; [key: string]: unknown };

  /** Detect and classify the faces of an image, the largest first. */
  detect(source: ImageSource): Promise<Face[]>;
}

/** Load the runtime and both models, 12 MB in all. Call it once and keep the detector. */
export function openDetector(options?: Options): Promise<Detector>;
