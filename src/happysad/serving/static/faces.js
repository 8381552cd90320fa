// The face detector on this device: YuNet in LiteRT.js, with the steps of happysad/faces.py.

import { fetchFile } from "./model_file.js";
import { cutSquare, resize, shrink, warp } from "./pixels.js";

// Height and width of the network's inputs, the smallest first.
const CANVASES = [[160, 160], [224, 224], [256, 320], [320, 256], [320, 320], [384, 384], [480, 640], [640, 480], [640, 640]];
const SCALES = [320, 640, 1248];
const TILE = 640;
const TILE_OVERLAP = 32;
const CLOSE = 160;
const MIN_CONFIDENCE = 0.6;
const DOUBTFUL = 0.3;
const TRACE = 0.1;
const SMALL = 32;
const TURNS = [-40, 40];
const ROTATED_SIDE = 384;
const MIN_ROLL = 2;
const REFINING_SIDE = 224;
const REFINING_MARGIN = 1.2;
const ROLL_CHANGE = 10;
const PHOTOGRAPHED = 0.8;
const JUDGED_SIDE = 80;

/** Resolve to a function from an image (as pixels.js has it) to its faces, the largest first. */
export async function openFaceDetector({ loadAndCompile, Tensor }, url) {
  const file = await fetchFile(url);
  const networks = new Map();

  function network(height, width) {
    const key = `${height}×${width}`;
    if (!networks.has(key)) networks.set(key, loadAndCompile(resized(file, height, width), { accelerator: "wasm" }));
    return networks.get(key);
  }

  /** Detect faces in an image; `toImage` maps its pixels, and what is returned, elsewhere. */
  async function run(image, toImage) {
    const canvas = CANVASES.find(([h, w]) => h >= image.height && w >= image.width);
    const padded = new Uint8Array(canvas[0] * canvas[1] * 3);
    for (let y = 0; y < image.height; y++) {
      padded.set(image.data.subarray(3 * y * image.width, 3 * (y + 1) * image.width), 3 * y * canvas[1]);
    }
    const input = new Tensor(padded, [1, ...canvas, 3]);
    const outputs = await (await network(...canvas)).run([input]);
    const values = await outputs[0].data();
    for (const tensor of [input, ...outputs]) tensor.delete();
    const faces = [];
    for (let i = 0; i < values.length; i += 15) {
      if (values[i + 14] >= TRACE) faces.push(toFace(values.subarray(i, i + 15), toImage));
    }
    return suppressOverlaps(faces, iou, 0.3);
  }

  async function detectAt(image, longest) {
    const small = resizedTo(image, longest);
    const scale = Math.max(image.width, image.height) / Math.max(small.width, small.height);
    const faces = [];
    for (const top of starts(small.height)) {
      for (const left of starts(small.width)) {
        const tile = part(small, left, top);
        const toImage = [scale, 0, scale * left, 0, scale, scale * top];
        const edges = [left, top, left + tile.width, top + tile.height].map((v) => v * scale);
        const found = await run(tile, toImage);
        faces.push(...found.filter(({ box }) => isWhole(box, edges, image)));
      }
    }
    return faces;
  }

  async function detectRotated(image, degrees) {
    const small = resizedTo(image, SCALES[0]);
    const scale = Math.max(image.width, image.height) / Math.max(small.width, small.height);
    const angle = (-degrees * Math.PI) / 180;
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
    const sides = [
      small.width * Math.abs(cos) + small.height * Math.abs(sin),
      small.width * Math.abs(sin) + small.height * Math.abs(cos),
    ];
    const shrinking = Math.max(1, Math.max(...sides) / ROTATED_SIDE);
    const [across, down] = sides.map((side) => Math.floor(side / shrinking));
    const map = rotation(angle, shrinking, [across / 2, down / 2], [small.width / 2, small.height / 2]);
    return run(warp(small, map, across, down), map.map((v) => v * scale));
  }

  async function refineRoll(image, face) {
    const [x, y] = centre(face);
    const longer = Math.max(face.box[2], face.box[3]);
    const angle = roll(face);
    const tilted = Math.abs(angle) * (180 / Math.PI) >= MIN_ROLL;
    if (!tilted || longer > Math.max(image.width, image.height) / 2) return face;
    const side = longer * REFINING_MARGIN;
    const crop = cutSquare(image, [x, y], side, angle, REFINING_SIDE);
    const middle = [REFINING_SIDE / 2, REFINING_SIDE / 2];
    const found = await run(crop, rotation(angle, side / REFINING_SIDE, middle, [x, y]));
    const again = above(MIN_CONFIDENCE, found).filter((other) => overlap(other, face) > 0.5);
    return again.sort((a, b) => b.confidence - a.confidence)[0] ?? face;
  }

  async function level(image, face) {
    const found = await refineRoll(image, face);
    const change = Math.abs(roll(found) - roll(face)) * (180 / Math.PI);
    return change < ROLL_CHANGE ? found : refineRoll(image, found);
  }

  return async (image) => {
    const full = Math.max(image.width, image.height);
    let faces = [];
    let trace = false;
    for (const longest of SCALES) {
      const found = await detectAt(image, longest);
      if (longest === SCALES[0] && full > CLOSE && !above(MIN_CONFIDENCE, found).length) {
        found.push(...(await detectAt(image, CLOSE)));
      }
      trace ||= found.length > 0;
      faces = suppressOverlaps([...faces, ...above(MIN_CONFIDENCE, found)], overlap, 0.5);
      const small = (SMALL * full) / Math.min(longest, full);
      const large = faces.every(({ box }) => Math.max(box[2], box[3]) >= small);
      const clear = suppressOverlaps([...faces, ...above(DOUBTFUL, found)], overlap, 0.5).length === faces.length;
      if ((faces.length && large && clear) || longest >= full) break;
    }
    if (trace && !faces.length) {
      const rotated = [];
      for (const degrees of TURNS) rotated.push(...(await detectRotated(image, degrees)));
      faces = suppressOverlaps(above(MIN_CONFIDENCE, rotated), overlap, 0.5);
    }
    const refined = [];
    for (const face of faces) refined.push(await level(image, face));
    return refined.sort((a, b) => b.box[2] * b.box[3] - a.box[2] * a.box[3]);
  };
}

/** Whether a detection is probably not a photographed face, which then gets no label. */
export function isDoubtful({ box, confidence }, { width, height }) {
  const judged = Math.max(JUDGED_SIDE, Math.max(width, height) / 8);
  return confidence < PHOTOGRAPHED && Math.max(box[2], box[3]) >= judged;
}

/** The classifier's crop of a face: RGB bytes of `size` × `size` pixels. */
export function cropFace(image, face, size, margin, level) {
  const side = Math.max(1, margin * Math.max(face.box[2], face.box[3]));
  return new Uint8Array(cutSquare(image, centre(face), side, level ? roll(face) : 0, size).data.buffer);
}

function roll({ landmarks }) {
  const [[x0, y0], [x1, y1]] = landmarks;
  return Math.atan2(y1 - y0, x1 - x0);
}

function centre({ box: [left, top, width, height] }) {
  return [left + width / 2, top + height / 2];
}

/** The map that rotates and scales about one point and moves that point to another. */
function rotation(angle, scale, [fromX, fromY], [toX, toY]) {
  const [cos, sin] = [scale * Math.cos(angle), scale * Math.sin(angle)];
  return [cos, -sin, toX - cos * fromX + sin * fromY, sin, cos, toY - sin * fromX - cos * fromY];
}

function resizedTo(image, longest) {
  const longer = Math.max(image.width, image.height);
  const scale = Math.min(longest, Math.max(CLOSE, longer)) / longer;
  if (scale === 1) return image;
  const [width, height] = [image.width, image.height].map((side) => Math.max(1, Math.round(scale * side)));
  return scale < 1 ? shrink(image, width, height) : resize(image, width, height, "bicubic");
}

function part(image, left, top) {
  const [width, height] = [Math.min(TILE, image.width - left), Math.min(TILE, image.height - top)];
  if (width === image.width && height === image.height) return image;
  const data = new Uint8ClampedArray(width * height * 3);
  for (let y = 0; y < height; y++) {
    const start = 3 * ((top + y) * image.width + left);
    data.set(image.data.subarray(start, start + 3 * width), 3 * y * width);
  }
  return { data, width, height };
}

/** A copy of the network's file for images of another size: LiteRT.js cannot resize an input. */
function resized(file, height, width) {
  const copy = file.slice();
  const view = new DataView(copy.buffer);
  const [input, output] = [[1, 320, 320, 3], [1, 2100, 15]];
  const holds = (at, shape) => shape.every((length, i) => view.getInt32(at + 4 * i, true) === length);
  for (let at = 0; at + 16 <= copy.length; at += 4) {
    if (holds(at, input)) {
      view.setInt32(at + 4, height, true);
      view.setInt32(at + 8, width, true);
    } else if (holds(at, output)) {
      // 21 detections for each 32 × 32 pixels.
      view.setInt32(at + 4, (height * width * 21) / 1024, true);
    }
  }
  return copy;
}

function toFace(row, toImage) {
  const [a, b, c, d, e, f] = toImage;
  const point = (x, y) => [a * x + b * y + c, d * x + e * y + f];
  const scale = Math.hypot(a, d);
  const [width, height] = [row[2] * scale, row[3] * scale];
  const [x, y] = point(row[0] + row[2] / 2, row[1] + row[3] / 2);
  const landmarks = [0, 1, 2, 3, 4].map((i) => point(row[4 + 2 * i], row[5 + 2 * i]));
  return { box: [x - width / 2, y - height / 2, width, height], landmarks, confidence: row[14] };
}

function starts(length) {
  const count = Math.max(1, Math.ceil((length - TILE_OVERLAP) / (TILE - TILE_OVERLAP)));
  const last = Math.max(0, length - TILE);
  return Array.from({ length: count }, (_, i) => Math.floor((last * i) / Math.max(1, count - 1)));
}

/** Whether a face ends before the tile's borders, those of the image apart: rounding makes them differ by a pixel. */
function isWhole([left, top, width, height], tile, image) {
  return (left > tile[0] || tile[0] <= 0) && (top > tile[1] || tile[1] <= 0) &&
    (left + width < tile[2] || tile[2] >= image.width - 1) &&
    (top + height < tile[3] || tile[3] >= image.height - 1);
}

function above(confidence, faces) {
  return faces.filter((face) => face.confidence >= confidence);
}

function suppressOverlaps(faces, measure, limit) {
  const kept = [];
  for (const face of [...faces].sort((a, b) => b.confidence - a.confidence)) {
    if (kept.every((other) => measure(face, other) <= limit)) kept.push(face);
  }
  return kept;
}

function common([x, y, width, height], [left, top, across, down]) {
  const overlapX = Math.min(x + width, left + across) - Math.max(x, left);
  const overlapY = Math.min(y + height, top + down) - Math.max(y, top);
  return Math.max(0, overlapX) * Math.max(0, overlapY);
}

/** The share of the smaller box that lies in the other. */
function overlap({ box: a }, { box: b }) {
  return common(a, b) / Math.max(1e-9, Math.min(a[2] * a[3], b[2] * b[3]));
}

function iou({ box: a }, { box: b }) {
  const shared = common(a, b);
  return shared / Math.max(1e-9, a[2] * a[3] + b[2] * b[3] - shared);
}
