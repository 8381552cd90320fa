// Scale pixels as Pillow's BICUBIC does, so that the device sees the crop that the server would see.

const SUPPORT = 2;

function bicubic(x) {
  const a = -0.5;
  x = Math.abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

/** For each of `size` places: where its window begins, and the weights in it. */
function windows(length, size) {
  const scale = length / size;
  const filter = Math.max(scale, 1);
  return Array.from({ length: size }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - SUPPORT * filter + 0.5));
    const last = Math.min(length, Math.trunc(centre + SUPPORT * filter + 0.5));
    const weights = [];
    for (let x = first; x < last; x++) weights.push(bicubic((x - centre + 0.5) / filter));
    const sum = weights.reduce((a, b) => a + b, 0);
    return { first, weights: weights.map((w) => w / sum) };
  });
}

/** Scale a square ImageData to RGB bytes of `size` × `size`. */
export function shrink(image, size) {
  const { data, width, height } = image;
  const rows = new Uint8ClampedArray(height * size * 3);
  windows(width, size).forEach(({ first, weights }, x) => {
    for (let y = 0; y < height; y++) {
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        for (let i = 0; i < weights.length; i++) sum += weights[i] * data[(y * width + first + i) * 4 + c];
        rows[(y * size + x) * 3 + c] = sum;
      }
    }
  });
  const out = new Uint8ClampedArray(size * size * 3);
  windows(height, size).forEach(({ first, weights }, y) => {
    for (let x = 0; x < size * 3; x++) {
      let sum = 0;
      for (let i = 0; i < weights.length; i++) sum += weights[i] * rows[(first + i) * size * 3 + x];
      out[y * size * 3 + x] = sum;
    }
  });
  return new Uint8Array(out.buffer);
}
