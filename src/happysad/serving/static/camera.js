// The camera: one stream at a time, faces followed from frame to frame, a timeline for each person.

import { colour, outline } from "./result.js";

const LONGEST = 640;
const MINUTE = 60000;
const LOST = 1000; // Milliseconds after which a person who is not seen gets a new number.
const SMOOTHING = 300; // Milliseconds: time constant of the scores.
const COLOURS = ["#d1495b", "#2e86ab", "#3c8d40", "#8a5cb8", "#c77700", "#00828a"];
const tint = (person) => COLOURS[(person - 1) % COLOURS.length];

/** Follows faces from frame to frame by the overlap of their boxes and smooths their scores. */
export class Tracker {
  persons = new Map();
  next = 1;

  update(faces, threshold, now) {
    for (const [number, person] of this.persons) if (now - person.seen > LOST) this.persons.delete(number);
    const pairs = [...this.persons].flatMap(([number, person]) =>
      faces.map((face) => [iou(person.box, face.box), number, face]));
    const taken = new Map();
    for (const [overlap, number, face] of pairs.sort((a, b) => b[0] - a[0])) {
      if (overlap > 0.2 && !taken.has(face) && ![...taken.values()].includes(number)) taken.set(face, number);
    }
    return faces.map((face) => {
      const number = taken.get(face) ?? this.next++;
      const before = this.persons.get(number);
      const keep = before ? Math.exp((before.seen - now) / SMOOTHING) : 0;
      const mix = (name) => keep * (before?.scores[name] ?? 0) + (1 - keep) * face.scores[name];
      const scores = { happy: mix("happy"), sad: mix("sad"), neither: mix("neither") };
      const best = scores.happy >= scores.sad ? "happy" : "sad";
      // The detector doubts that it is a photographed face.
      const doubtful = face.label === "uncertain" && Math.max(face.scores.happy, face.scores.sad) >= threshold;
      const label = doubtful || scores[best] < threshold ? "uncertain" : best;
      this.persons.set(number, { box: face.box, scores, seen: now });
      return { ...face, person: number, scores, label };
    });
  }
}

function iou([x, y, w, h], [left, top, across, down]) {
  const overlap = Math.max(0, Math.min(x + w, left + across) - Math.max(x, left)) *
    Math.max(0, Math.min(y + h, top + down) - Math.max(y, top));
  return overlap / Math.max(1e-9, w * h + across * down - overlap);
}

/** Shows the camera. `ask` turns a canvas into a record; `onEnd` is called with the reason. */
export class Camera {
  constructor(elements, { ask, threshold, onStatus, onEnd }) {
    Object.assign(this, { elements, ask, threshold, onStatus, onEnd });
    this.stream = null;
    this.starting = null;
    this.frame = null; // A canvas with the latest frame, while the camera shows any.
  }

  get isOn() {
    return Boolean(this.stream || this.starting);
  }

  /** Start, or switch to another camera; while a start is pending, further calls do nothing. */
  async start(deviceId) {
    if (this.starting) return;
    const attempt = {};
    this.starting = attempt;
    this.release();
    let stream;
    try {
      if (!navigator.mediaDevices) throw new Error("browsers allow it only over HTTPS or on localhost.");
      const video = deviceId ? { deviceId: { exact: deviceId } } : { facingMode: "user" };
      stream = await navigator.mediaDevices.getUserMedia({ video, audio: false });
      if (this.starting !== attempt) {
        stream.getTracks().forEach((track) => track.stop());
        return;
      }
      this.stream = stream;
      stream.getVideoTracks()[0].onended = () => this.stop("The camera was disconnected.");
      this.elements.video.srcObject = stream;
      await this.elements.video.play();
      await this.listCameras();
    } catch (error) {
      if (this.starting === attempt) this.stop(`The camera cannot be used: ${error.message || error}`, true);
      return;
    } finally {
      if (this.starting === attempt) this.starting = null;
    }
    // It may have been stopped in the meantime.
    if (this.stream === stream) this.watch(stream);
  }

  stop(reason = "The camera is off.", isError = reason !== "The camera is off.") {
    this.starting = null;
    this.release();
    this.onEnd(reason, isError);
  }

  release() {
    this.stream?.getTracks().forEach((track) => {
      track.onended = null;
      track.stop();
    });
    this.stream = this.frame = null;
    this.elements.video.srcObject = null;
  }

  async listCameras() {
    const { cameras, choice } = this.elements;
    const all = (await navigator.mediaDevices.enumerateDevices()).filter(({ kind }) => kind === "videoinput");
    const used = this.stream?.getVideoTracks()[0].getSettings().deviceId;
    cameras.replaceChildren(...all.map(({ deviceId, label }, i) =>
      new Option(label || `Camera ${i + 1}`, deviceId, false, deviceId === used)));
    choice.hidden = all.length < 2;
  }

  async watch(stream) {
    const { video, view, trouble, timeline, rate } = this.elements;
    const [tracker, points] = [new Tracker(), new Map()];
    const times = [];
    let told = 0;
    this.frame = document.createElement("canvas");
    while (this.stream === stream) {
      drawScaled(this.frame, video, video.videoWidth, video.videoHeight, LONGEST);
      try {
        const record = await this.ask(this.frame);
        if (this.stream !== stream) return;
        const now = performance.now();
        const factor = this.frame.width / record.width;
        const faces = tracker.update(record.faces, this.threshold(), now)
          .map((face) => ({ ...face, box: face.box.map((v) => v * factor) }));
        trouble.hidden = true;
        this.show(view, faces);
        for (const { person, scores } of faces) {
          if (!points.has(person)) points.set(person, []);
          points.get(person).push([now, scores.happy - scores.sad]);
        }
        drawTimeline(timeline, points, now);
        times.push(now);
        while (times[0] < now - 2000) times.shift();
        if (times.length > 1) rate.textContent = `${Math.round((1000 * (times.length - 1)) / (now - times[0]))} frames/s`;
        if (now - told > 2000) {
          this.onStatus(faces);
          told = now;
        }
      } catch (error) {
        if (this.stream !== stream) return;
        if (error.fatal) return void this.stop(error.message, true);
        trouble.textContent = `${String(error.message || error).replace(/\.$/, "")}. Trying again.`;
        trouble.hidden = false;
        await new Promise((done) => setTimeout(done, 1000 * (error.retryAfter || 1)));
      }
      await new Promise(requestAnimationFrame);
    }
  }

  /** Mirrored, as people know themselves. */
  show(view, faces) {
    const { width, height } = this.frame;
    [view.width, view.height] = [width, height];
    const context = view.getContext("2d");
    context.setTransform(-1, 0, 0, 1, width, 0);
    context.drawImage(this.frame, 0, 0);
    context.resetTransform();
    const mirrored = faces.map((face) => ({ ...face, box: [width - face.box[0] - face.box[2], ...face.box.slice(1)] }));
    outline(context, mirrored, { tint: ({ person }) => tint(person) });
  }
}

/** Draw an image or a video frame onto a canvas, on white, with 1 to `longest` pixels on each side. */
export function drawScaled(canvas, source, width, height, longest) {
  const scale = Math.min(1, longest / Math.max(width, height));
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
}

export const toJpeg = (canvas, quality) => new Promise((done) => canvas.toBlob(done, "image/jpeg", quality));

/** Draw the last minute: for each person, points of [milliseconds, P(happy) − P(sad)]. */
function drawTimeline(canvas, points, now) {
  canvas.width = canvas.clientWidth * devicePixelRatio;
  canvas.height = canvas.clientHeight * devicePixelRatio;
  const context = canvas.getContext("2d");
  const x = (time) => canvas.width * (1 - (now - time) / MINUTE);
  const y = (balance) => canvas.height * (0.5 - 0.42 * balance);
  context.strokeStyle = colour("rule");
  context.strokeRect(-1, y(0), canvas.width + 2, canvas.height);
  context.fillStyle = colour("muted");
  context.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
  context.fillText("happy", 6, y(1) + 12 * devicePixelRatio);
  context.fillText("sad", 6, y(-1));
  context.lineWidth = 2 * devicePixelRatio;
  for (const [person, line] of points) {
    while (line.length && now - line[0][0] > MINUTE) line.shift();
    if (!line.length) points.delete(person);
    context.strokeStyle = tint(person);
    context.beginPath();
    line.forEach(([time, balance], i) => {
      const gap = i === 0 || time - line[i - 1][0] > 2000;
      context[gap ? "moveTo" : "lineTo"](x(time), y(balance));
    });
    context.stroke();
  }
}
