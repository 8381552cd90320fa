// The page: images and the camera in, outlined faces out.

import { openDevice } from "./device.js";
import { describeFace, outline, strip } from "./draw.js";
import { Refused, askServer, describeModel } from "./server.js";

const LONGEST = 1280;
const FRAME = 640;
const $ = (id) => document.getElementById(id);
const mode = () => new FormData($("where")).get("mode");
const key = () => $("key").querySelector("input").value;
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;

let device; // The promise of the on-device classifier, once it was asked for.
let camera; // The camera's MediaStream while it runs.

function say(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

function explain(error) {
  if (error instanceof Refused && error.status === 401) {
    $("key").hidden = false;
    $("key").querySelector("input").focus();
  }
  return error.message || String(error);
}

function onDevice() {
  device ??= describeModel(key()).then(openDevice);
  device.catch(() => { device = undefined; });
  return device;
}

async function changeMode() {
  if (mode() === "server") {
    $("promise").textContent =
      "Images are sent to this server and answered there. It keeps and logs none of them.";
    return;
  }
  $("promise").textContent = "No image leaves this device.";
  say("Loading the model onto this device …");
  try {
    await onDevice();
    say("The model is on this device now.");
  } catch (error) {
    say(`This device cannot run the model: ${explain(error)}`, true);
  }
}

/** Draw an image or a video frame onto a canvas, at most `longest` pixels on its longer side. */
function put(canvas, source, width, height, longest) {
  const scale = Math.min(1, longest / Math.max(width, height));
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  canvas.getContext("2d", { willReadFrequently: true }).drawImage(source, 0, 0, canvas.width, canvas.height);
}

/** Bring a record's boxes to a canvas that shows the image at another size. */
function scaled(record, canvas) {
  const factor = canvas.width / record.width;
  return record.faces.map((face) => ({ ...face, box: face.box.map((v) => v * factor) }));
}

function describe(face, number) {
  const item = document.createElement("li");
  const strong = document.createElement("strong");
  strong.className = face.label;
  strong.textContent = describeFace(face);
  item.append(`face ${number}: `, strong);
  return item;
}

async function addPicture(file) {
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  caption.textContent = `${file.name}: looking …`;
  figure.append(caption);
  $("results").prepend(figure);
  try {
    const image = await createImageBitmap(file).catch(() => {
      throw new Error("this browser cannot read the image");
    });
    const canvas = document.createElement("canvas");
    canvas.setAttribute("role", "img");
    put(canvas, image, image.width, image.height, LONGEST);
    figure.prepend(canvas);
    const record = mode() === "server" ? await askServer(file, key()) : await (await onDevice())(canvas);
    const faces = scaled(record, canvas);
    outline(canvas, faces);
    caption.textContent = faces.length ? file.name : `${file.name}: no face found`;
    canvas.setAttribute("aria-label", `${file.name}, ${plural(faces.length, "face")} outlined`);
    const list = document.createElement("ul");
    list.append(...faces.map((face, i) => describe(face, i + 1)));
    caption.append(list);
    return faces.length;
  } catch (error) {
    caption.textContent = `${file.name}: ${explain(error)}`;
    caption.classList.add("error");
    return null;
  }
}

async function addPictures(files) {
  const counts = [];
  for (const [i, file] of [...files].entries()) {
    say(`Looking at image ${i + 1} of ${files.length} …`);
    counts.push(await addPicture(file));
  }
  const failed = counts.filter((count) => count === null).length;
  const faces = counts.reduce((sum, count) => sum + (count ?? 0), 0);
  say(`${plural(faces, "face")} in ${plural(counts.length - failed, "image")}` +
    (failed ? `; ${failed} without an answer` : ""), failed > 0);
}

async function watch() {
  const [video, view, frame] = [$("video"), $("view"), document.createElement("canvas")];
  const points = [];
  let told = 0;
  const stream = camera;
  while (camera === stream) {
    put(frame, video, video.videoWidth, video.videoHeight, FRAME);
    try {
      const record = mode() === "server"
        ? await askServer(await new Promise((done) => frame.toBlob(done, "image/jpeg", 0.85)), key())
        : await (await onDevice())(frame);
      if (camera !== stream) return;
      const now = performance.now();
      put(view, frame, frame.width, frame.height, FRAME);
      outline(view, scaled(record, view));
      if (record.faces.length) points.push([now, record.faces[0].probability]);
      while (points.length && now - points[0][0] > 60000) points.shift();
      strip($("strip"), points, now);
      if (now - told > 2000) {
        const [face] = record.faces;
        say(face ? describeFace(face) : "no face detected");
        told = now;
      }
    } catch (error) {
      say(explain(error), true);
      if (error instanceof Refused && error.status !== 503) return stopCamera();
      await pause(1000 * (error.retryAfter || 1));
    }
    await new Promise(requestAnimationFrame);
  }
}

function stopCamera() {
  camera?.getTracks().forEach((track) => track.stop());
  camera = undefined;
  $("live").hidden = true;
  $("camera").textContent = "start the camera";
  $("camera").setAttribute("aria-pressed", "false");
}

async function toggleCamera() {
  if (camera) {
    stopCamera();
    say("The camera is off.");
    return;
  }
  try {
    camera = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user" }, audio: false });
  } catch (error) {
    say(`The camera cannot be used: ${explain(error)}`, true);
    return;
  }
  $("video").srcObject = camera;
  await $("video").play();
  $("live").hidden = false;
  $("camera").textContent = "stop the camera";
  $("camera").setAttribute("aria-pressed", "true");
  watch();
}

const drop = $("drop");
$("where").addEventListener("change", changeMode);
$("where").addEventListener("submit", (event) => event.preventDefault());
$("files").addEventListener("change", ({ target }) => {
  addPictures([...target.files]);
  target.value = ""; // So that the same image can be chosen again.
});
$("camera").addEventListener("click", toggleCamera);
for (const name of ["dragover", "dragleave", "drop"]) {
  drop.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragover");
    if (name === "drop") addPictures(event.dataTransfer.files);
  });
}
changeMode();
