// One image with its record: outlined faces, a headline, a meter for each face.

const LABELS = ["happy", "sad", "uncertain"];
const FOLDED = 5;
const PARTS = ["happy", "neither", "sad"];

export const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** A score in words; no score is certain, so never 0 % or 100 %. */
export const percent = (score) => `${Math.min(99, Math.max(1, Math.round(100 * score)))} %`;

/** A face's label with its score; of "uncertain", both scores, and the reason if one reaches the threshold. */
export function describeFace({ label, scores }, threshold = 1) {
  if (label !== "uncertain") return `${label} ${percent(scores[label])}`;
  const doubt = Math.max(scores.happy, scores.sad) >= threshold ? " (perhaps no photographed face)" : "";
  return `uncertain${doubt}, happy ${percent(scores.happy)}, sad ${percent(scores.sad)}`;
}

/** "3 faces: 2 happy, 1 uncertain"; without a record, the photo is still being processed. */
export function headline(record) {
  if (!record) return "Looking …";
  const { faces } = record;
  if (!faces.length) return "No face found";
  const counts = LABELS.map((label) => [faces.filter((face) => face.label === label).length, label]);
  const parts = counts.filter(([count]) => count).map(([count, label]) => `${count} ${label}`);
  return faces.length === 1 ? `1 face: ${faces[0].label}` : `${faces.length} faces: ${parts.join(", ")}`;
}

/** Outline faces with numbers; the label follows where the box has room for it. */
export function outline(context, faces, { scale = 1, lit = -1, tint = (face) => colour(face.label) } = {}) {
  const { width, height } = context.canvas;
  const unit = Math.max(width, height) / 640;
  const size = Math.max(12, 15 * unit);
  context.font = `600 ${size}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  for (const [i, face] of faces.entries()) {
    const [x, y, w, h] = face.box.map((v) => v * scale);
    context.globalAlpha = lit < 0 || lit === i ? 1 : 0.3;
    context.lineWidth = Math.max(2, 2 * unit) * (lit === i ? 1.8 : 1);
    context.strokeStyle = context.fillStyle = tint(face);
    context.strokeRect(x, y, w, h);
    const number = String(face.person ?? i + 1);
    const long = `${number}  ${face.label === "uncertain" ? face.label : describeFace(face)}`;
    const text = context.measureText(long).width + size <= w ? long : number;
    const wide = context.measureText(text).width + size * 0.7;
    const left = Math.min(Math.max(0, x - context.lineWidth / 2), Math.max(0, width - wide));
    const tall = size * 1.4;
    // Above the box where the image has room.
    const top = Math.min(y >= tall ? y - tall : Math.max(0, y), height - tall);
    context.fillRect(left, top, wide, tall);
    context.fillStyle = colour("paper");
    context.fillText(text, left + size * 0.35, top + size * 0.72);
  }
  context.globalAlpha = 1;
}

function thumbnail(image, [x, y, width, height]) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 112;
  const side = Math.max(width, height) * 1.1;
  canvas.getContext("2d").drawImage(image, x + (width - side) / 2, y + (height - side) / 2, side, side, 0, 0, 112, 112);
  return canvas;
}

/** A bar of the three scores, and its figures in words. */
function meter({ scores }) {
  const [bar, figures] = ["span", "small"].map((name) => document.createElement(name));
  figures.textContent = PARTS.map((part) => `${part} ${percent(scores[part])}`).join(", ");
  bar.className = "meter";
  bar.setAttribute("aria-hidden", "true");
  for (const part of PARTS) {
    const piece = document.createElement("span");
    piece.className = part;
    piece.style.width = `${100 * scores[part]}%`;
    bar.append(piece);
  }
  return [bar, figures];
}

/** The part of the page that shows one photo: { name, canvas, record, error }. */
export class ResultView {
  constructor(root, threshold) {
    this.root = root;
    this.threshold = threshold;
    this.image = root.querySelector("#image");
    this.image.addEventListener("mousemove", (event) => this.light(this.faceAt(event)));
    this.image.addEventListener("mouseleave", () => this.light(-1));
    root.querySelector("#more").addEventListener("click", () => {
      this.list(Infinity);
      root.querySelectorAll(".face")[FOLDED].focus(); // The button is hidden now.
    });
  }

  show(photo) {
    this.photo = photo;
    const { name, canvas, record, error } = photo;
    this.root.hidden = false;
    this.root.querySelector("#name").textContent = name;
    const title = this.root.querySelector("#headline");
    title.textContent = error ? "No answer" : headline(record);
    title.classList.toggle("error", Boolean(error));
    this.root.querySelector("#problem").textContent = error ? `${error[0].toUpperCase()}${error.slice(1)}` : "";
    this.root.classList.toggle("bare", !canvas);
    this.image.hidden = this.root.querySelector("#enlarge").hidden = !canvas;
    if (canvas) this.image.setAttribute("aria-label", `${name}: ${title.textContent}`);
    this.root.querySelector("#downloads").hidden = !record && !error;
    this.root.querySelector("[data-save=image]").hidden = !canvas || !record;
    this.list(FOLDED);
    this.light(-1);
  }

  list(most) {
    const { canvas, record } = this.photo;
    const faces = record?.faces ?? [];
    const shown = faces.slice(0, faces.length > most + 1 ? most : Infinity);
    const items = shown.map((face, i) => this.item(face, i, canvas, record));
    this.root.querySelector("#faces").replaceChildren(...items);
    const more = this.root.querySelector("#more");
    more.hidden = shown.length === faces.length;
    more.textContent = `Show all ${faces.length} faces`;
  }

  item(face, i, canvas, record) {
    const item = document.createElement("li");
    const box = document.createElement("div");
    box.className = "face";
    box.tabIndex = 0;
    for (const name of ["mouseenter", "focus"]) box.addEventListener(name, () => this.light(i));
    for (const name of ["mouseleave", "blur"]) box.addEventListener(name, () => this.light(-1));
    const strong = document.createElement("strong");
    strong.className = face.label;
    strong.textContent = describeFace(face, this.threshold());
    const text = document.createElement("span");
    text.append(`Face ${i + 1}: `, strong);
    if (canvas) box.append(thumbnail(canvas, face.box.map((v) => (v * canvas.width) / record.width)));
    box.append(text, ...meter(face));
    item.append(box);
    return item;
  }

  /** Highlight a face in the image and in the list; -1 for none. */
  light(which) {
    const { canvas, record } = this.photo;
    for (const [i, box] of [...this.root.querySelectorAll(".face")].entries()) box.classList.toggle("lit", i === which);
    if (canvas) draw(this.image, canvas, record, which);
  }

  faceAt({ offsetX, offsetY }) {
    const { canvas, record } = this.photo;
    if (!canvas || !record) return -1;
    const scale = record.width / this.image.clientWidth;
    const [px, py] = [offsetX * scale, offsetY * scale];
    return record.faces.findLastIndex(({ box: [x, y, w, h] }) => px >= x && py >= y && px <= x + w && py <= y + h);
  }
}

/** Draw a photo with its outlined faces onto a canvas. */
export function draw(target, canvas, record, lit = -1) {
  [target.width, target.height] = [canvas.width, canvas.height];
  const context = target.getContext("2d");
  context.drawImage(canvas, 0, 0);
  if (record) outline(context, record.faces, { scale: canvas.width / record.width, lit });
}
