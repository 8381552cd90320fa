// Resampling of RGB images with the arithmetic of Pillow, so that device and server see the same.
// An image is { data: Uint8ClampedArray of RGB bytes, width, height }; a map is [a, b, c, d, e, f],
// (x, y) → (a x + b y + c, d x + e y + f), as in Pillow.

const STRIP = 256; // Rows that are read at once.
const FILTERS = {
  box: { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { support: 2, weight: bicubic },
};

function bicubic(x) {
  const a = -0.5;
  x = Math.abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

/** The pixels of an image element, a video or a frame of it, a canvas, a bitmap or ImageData, blended with white. */
export function readPixels(source) {
  const width = source.displayWidth ?? source.naturalWidth ?? source.videoWidth ?? source.width;
  const height = source.displayHeight ?? source.naturalHeight ?? source.videoHeight ?? source.height;
  if (!width || !height) throw new Error("The image has no pixels yet; wait until it is loaded.");
  const data = new Uint8ClampedArray(width * height * 3);
  // In strips: a photo of 12 megapixels would take 100 MB more, and some browsers have no canvas of 17.
  const canvas = new OffscreenCanvas(width, Math.min(height, STRIP));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  for (let top = 0, j = 0; top < height; top += STRIP) {
    const rows = Math.min(STRIP, height - top);
    context.clearRect(0, 0, width, rows);
    if (source instanceof ImageData) context.putImageData(source, 0, -top);
    else context.drawImage(source, 0, -top);
    const rgba = context.getImageData(0, 0, width, rows).data;
    for (let i = 0; i < rgba.length; i += 4, j += 3) {
      const opacity = rgba[i + 3] / 255;
      for (let k = 0; k < 3; k++) data[j + k] = 255 + opacity * (rgba[i + k] - 255);
    }
  }
  return { data, width, height };
}

/** For each of `size` places between start and end: where its window begins, its weights. */
function windows(start, end, length, size, { support, weight }) {
  const scale = (end - start) / size;
  const stretch = Math.max(scale, 1);
  return Array.from({ length: size }, (_, i) => {
    const centre = start + (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support * stretch + 0.5));
    const last = Math.min(length, Math.trunc(centre + support * stretch + 0.5));
    const weights = [];
    for (let x = first; x < last; x++) weights.push(weight((x - centre + 0.5) / stretch));
    const sum = weights.reduce((a, b) => a + b, 0);
    return { first, weights: weights.map((w) => w / sum) };
  });
}

/** Resize the part [left, top, right, bottom] of an image. */
export function resize(image, width, height, filter, box = [0, 0, image.width, image.height]) {
  const columns = windows(box[0], box[2], image.width, width, FILTERS[filter]);
  const lines = windows(box[1], box[3], image.height, height, FILTERS[filter]);
  const top = lines[0].first;
  const bottom = lines[height - 1].first + lines[height - 1].weights.length;
  const half = new Uint8ClampedArray((bottom - top) * width * 3);
  for (let y = top; y < bottom; y++) {
    for (let x = 0, j = (y - top) * width * 3; x < width; x++, j += 3) {
      const { first, weights } = columns[x];
      let [r, g, b] = [0, 0, 0];
      for (let k = 0, i = (y * image.width + first) * 3; k < weights.length; k++, i += 3) {
        r += weights[k] * image.data[i];
        g += weights[k] * image.data[i + 1];
        b += weights[k] * image.data[i + 2];
      }
      half[j] = r;
      half[j + 1] = g;
      half[j + 2] = b;
    }
  }
  const data = new Uint8ClampedArray(height * width * 3);
  for (let y = 0; y < height; y++) {
    const { first, weights } = lines[y];
    for (let x = 0; x < width * 3; x++) {
      let sum = 0;
      for (let k = 0; k < weights.length; k++) sum += weights[k] * half[(first - top + k) * width * 3 + x];
      data[y * width * 3 + x] = sum;
    }
  }
  return { data, width, height };
}

/** Resize a whole image, first by averaging blocks of pixels (Pillow's reducing_gap of 1). */
export function shrink(image, width, height) {
  const [across, down] = [Math.trunc(image.width / width) || 1, Math.trunc(image.height / height) || 1];
  if (across === 1 && down === 1) return resize(image, width, height, "bilinear");
  const small = [Math.ceil(image.width / across), Math.ceil(image.height / down)];
  const covered = [small[0] * across, small[1] * down];
  // Blocks at the right and lower border may be incomplete.
  const reduced = resize(image, ...small, "box", [0, 0, ...covered]);
  return resize(reduced, width, height, "bilinear", [0, 0, image.width / across, image.height / down]);
}

/** Sample an image bilinearly where the map leads; black outside. */
export function warp(image, [a, b, c, d, e, f], width, height) {
  const out = new Uint8ClampedArray(width * height * 3);
  for (let y = 0, j = 0; y < height; y++) {
    for (let x = 0; x < width; x++, j += 3) {
      const u = a * (x + 0.5) + b * (y + 0.5) + c;
      const v = d * (x + 0.5) + e * (y + 0.5) + f;
      if (u < 0 || v < 0 || u >= image.width || v >= image.height) continue;
      const [left, top] = [Math.floor(u - 0.5), Math.floor(v - 0.5)];
      const [p, q] = [u - 0.5 - left, v - 0.5 - top];
      const [x0, x1] = [Math.max(0, left), Math.min(image.width - 1, left + 1)].map((k) => 3 * k);
      const [y0, y1] = [Math.max(0, top), Math.min(image.height - 1, top + 1)].map((k) => 3 * k * image.width);
      for (let k = 0; k < 3; k++) {
        const upper = image.data[y0 + x0 + k] * (1 - p) + image.data[y0 + x1 + k] * p;
        const lower = image.data[y1 + x0 + k] * (1 - p) + image.data[y1 + x1 + k] * p;
        out[j + k] = upper * (1 - q) + lower * q;
      }
    }
  }
  return { data: out, width, height };
}

/** A rotated square around a point, `size` × `size`, mirrored where it leaves the image. */
export function cutSquare(image, [middleX, middleY], side, angle, size) {
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const reach = (side / 2) * (Math.abs(cos) + Math.abs(sin)) + 2;
  const [left, top] = [Math.floor(middleX - reach), Math.floor(middleY - reach)];
  let part = mirrored(image, left, top, Math.ceil(middleX + reach), Math.ceil(middleY + reach));
  let [x, y] = [middleX - left, middleY - top];
  if (!angle) {
    const half = side / 2;
    return resize(part, size, size, side >= size ? "box" : "bilinear", [x - half, y - half, x + half, y + half]);
  }
  if (side > size) {
    const target = Math.max(1, Math.round((2 * reach * size) / side));
    part = resize(part, target, target, "box", [x - reach, y - reach, x + reach, y + reach]);
    x = y = target / 2;
    side *= target / (2 * reach);
  }
  const step = side / size;
  const shift = (u, v) => (-step * size * (u + v)) / 2;
  const map = [step * cos, -step * sin, x + shift(cos, -sin), step * sin, step * cos, y + shift(sin, cos)];
  return warp(part, map, size, size);
}

function mirrored(image, left, top, right, bottom) {
  const [width, height] = [right - left, bottom - top];
  const data = new Uint8ClampedArray(width * height * 3);
  const columns = Array.from({ length: width }, (_, i) => 3 * reflect(left + i, image.width));
  for (let y = 0, j = 0; y < height; y++) {
    const row = 3 * image.width * reflect(top + y, image.height);
    for (const column of columns) {
      for (let k = 0; k < 3; k++, j++) data[j] = image.data[row + column + k];
    }
  }
  return { data, width, height };
}

function reflect(index, length) {
  if (length === 1) return 0;
  const period = 2 * (length - 1);
  const inside = ((index % period) + period) % period;
  return Math.min(inside, period - inside);
}
