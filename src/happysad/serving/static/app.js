// The page: photos and the camera in, labelled faces out.

import { Camera, drawScaled, toJpeg } from "./camera.js";
import { openDevice } from "./device.js";
import { save } from "./downloads.js";
import { ResultView, describeFace, draw, headline, plural } from "./result.js";
import { askServer, describeModel } from "./server.js";

const LONGEST = 1280; // Of photos as they are shown, pixels.
const LONGEST_SENT = 2560; // Of photos that the server does not accept as they are.
const STORED_MODE = "happysad-mode";
const $ = (id) => document.getElementById(id);
const mode = () => new FormData($("where")).get("mode");
const key = () => $("key").querySelector("input").value;

const photos = []; // Those on the page: { name, file, canvas, record, error, status, button }.
let batch = []; // The photos being processed, one after another; clear() replaces it.
let device; // The promise of the on-device models, once they were asked for.
let threshold = 0.5;
const view = new ResultView($("result"), () => threshold);

function say(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

const messageOf = (error) => error.message || String(error);

/** Open the form for an API key if that is what the server asks for. */
function askForKey({ status }) {
  if (status !== 401 || !$("key").hidden) return;
  $("key").hidden = false;
  $("key").querySelector("input").focus();
}

async function describe() {
  const info = await describeModel(key());
  ({ threshold } = info);
  $("model").textContent = `happysad ${info.happysad}, model ${info.recipe} of ${info.created.slice(0, 10)} (${info.precision}).`;
  return info;
}

function onDevice() {
  device ??= describe().then(() => openDevice());
  device.catch(() => { device = undefined; });
  return device;
}

/** The mode chosen on an earlier visit; browsers may block storage. */
function storedMode() {
  try {
    return localStorage.getItem(STORED_MODE);
  } catch {
    return null;
  }
}

function storeMode() {
  try {
    localStorage.setItem(STORED_MODE, mode());
  } catch {
    // The next visit starts with the default.
  }
}

/** Say where photos go. */
function showPromise() {
  $("promise").textContent = mode() === "device"
    ? "Photos stay on this device. The models, 12 MB with their runtime, are loaded once."
    : "Photos are sent to this server, which keeps and logs none of them.";
}

/** The record of a photo: from this device, or from the server, reduced where it refuses the file. */
async function ask(file, image) {
  if (mode() === "device") {
    if (!image) throw new Error("This browser cannot read the image.");
    return (await onDevice())(image);
  }
  try {
    return await askServer(file, key());
  } catch (error) {
    if (!image || ![400, 413, 415, 422].includes(error.status)) throw error;
    const reduced = document.createElement("canvas");
    drawScaled(reduced, image, image.width, image.height, LONGEST_SENT);
    return inPixelsOf(image, await askServer(await toJpeg(reduced, 0.92), key()));
  }
}

/** The record of a reduced copy, in pixels of the photo. */
function inPixelsOf({ width, height }, record) {
  const enlarge = (v) => Number(((v * width) / record.width).toFixed(1));
  const faces = record.faces.map((face) => (
    { ...face, box: face.box.map(enlarge), landmarks: face.landmarks.map((point) => point.map(enlarge)) }
  ));
  return { ...record, width, height, faces };
}

async function answer(photo) {
  photo.error = photo.status = undefined;
  update(photo);
  const image = await createImageBitmap(photo.file).catch(() => null);
  try {
    if (image) {
      photo.canvas = document.createElement("canvas");
      drawScaled(photo.canvas, image, image.width, image.height, LONGEST);
      update(photo);
    }
    photo.record = await ask(photo.file, image);
  } catch (error) {
    askForKey(error);
    photo.error = messageOf(error);
    photo.status = error.status;
  } finally {
    image?.close();
  }
  update(photo);
}

function addPhotos(files) {
  if (files.length) answerAll(files.map((file) => ({ name: file.name || "pasted image", file })));
}

async function answerAll(all) {
  batch.push(...all);
  if (batch.length > all.length) return; // They follow those in progress.
  const current = batch;
  document.body.classList.add("busy");
  for (const [i, photo] of current.entries()) {
    say(current.length > 1 ? `Looking at photo ${i + 1} of ${current.length} …` : "Looking …");
    if (!photos.includes(photo)) addToStrip(photo);
    await answer(photo);
    if (batch !== current) return; // Cleared in the meantime.
  }
  batch = [];
  const done = [...new Set(current)]; // One that was refused may be in it twice.
  const answered = done.filter(({ error }) => !error);
  const failed = done.length - answered.length;
  const faces = answered.flatMap(({ record }) => record.faces);
  say(`${plural(faces.length, "face")} in ${plural(answered.length, "photo")}` +
    (failed ? `; ${failed} without an answer` : ""), failed > 0);
}

/** Add a photo to the strip, the newest first. */
function addToStrip(photo) {
  const [item, button, small] = ["li", "button", "canvas"].map((name) => document.createElement(name));
  [small.width, small.height] = [176, 132];
  button.type = "button";
  button.append(small);
  button.addEventListener("click", () => show(photo));
  item.append(button);
  photo.button = button;
  photos.push(photo);
  $("photos").prepend(item);
  $("strip").hidden = false;
}

/** Redraw a photo's thumbnail, and show the photo; not one that was cleared. */
function update(photo) {
  if (!photos.includes(photo)) return;
  const { name, canvas, record, error, button } = photo;
  if (canvas) {
    const scale = Math.max(176 / canvas.width, 132 / canvas.height);
    const [width, height] = [canvas.width * scale, canvas.height * scale];
    button.firstChild.getContext("2d").drawImage(canvas, (176 - width) / 2, (132 - height) / 2, width, height);
  }
  button.classList.toggle("failed", Boolean(error));
  button.setAttribute("aria-label", `${name}: ${error ?? headline(record)}`);
  show(photo);
}

function show(photo) {
  view.show(photo);
  for (const each of photos) each.button.setAttribute("aria-current", String(each === photo));
}

function clear() {
  $("files").focus(); // Before the button is hidden.
  photos.length = 0;
  batch = [];
  $("photos").replaceChildren();
  $("result").hidden = $("strip").hidden = true;
  document.body.classList.toggle("busy", camera.isOn);
  say("");
}

function showCamera(on) {
  $("live").hidden = !on;
  $("people").textContent = "";
  document.body.classList.toggle("busy", on || photos.length > 0);
  $("camera").textContent = on ? "Stop the camera" : "Use the camera";
  $("camera").setAttribute("aria-pressed", String(on));
}

const camera = new Camera(
  Object.fromEntries(["video", "view", "trouble", "timeline", "rate", "cameras", "choice"].map((id) => [id, $(id)])),
  {
    ask: async (frame) => (mode() === "device" ? (await onDevice())(frame) : askServer(await toJpeg(frame, 0.85), key())),
    threshold: () => threshold,
    onStatus: (faces) => {
      const people = faces.map((face) => `${face.person}: ${describeFace(face, threshold)}`);
      $("people").textContent = people.join("; ") || "No face detected.";
    },
    onEnd: (reason, isError) => { showCamera(false); say(reason, isError); },
  },
);

$("where").addEventListener("change", () => {
  storeMode();
  showPromise();
});
$("key").addEventListener("submit", (event) => {
  event.preventDefault();
  describe().then(
    () => {
      $("files").focus(); // Before the form is hidden.
      $("key").hidden = true;
      say("");
      const again = photos.filter(({ status }) => status === 401);
      if (again.length) answerAll(again);
    },
    (error) => say(messageOf(error), true),
  );
});
$("files").addEventListener("change", ({ target }) => {
  addPhotos([...target.files]);
  target.value = ""; // The same photo can be chosen again.
});
$("camera").addEventListener("click", () => {
  if (camera.isOn) return camera.stop();
  showCamera(true);
  if (!batch.length) say("");
  camera.start();
});
$("cameras").addEventListener("change", ({ target }) => camera.start(target.value));
$("snapshot").addEventListener("click", async () => {
  if (!camera.frame) return say("The camera shows no image yet.", true);
  const blob = await toJpeg(camera.frame, 0.92);
  addPhotos([new File([blob], `photo ${new Date().toLocaleTimeString()}.jpg`, { type: "image/jpeg" })]);
});
$("samples").addEventListener("click", async ({ target }) => {
  const name = target.closest("button")?.dataset.sample;
  if (!name) return;
  const blob = await fetch(`samples/${name}.jpg`).then((response) => response.ok && response.blob()).catch(() => null);
  if (!blob) return say("The sample cannot be loaded from the server.", true);
  $("files").focus(); // Before the samples are hidden.
  addPhotos([new File([blob], `${name}.jpg`, { type: "image/jpeg" })]);
});
$("enlarge").addEventListener("click", () => {
  const { name, canvas, record } = view.photo;
  const large = $("large").querySelector("canvas");
  draw(large, canvas, record);
  large.setAttribute("aria-label", name);
  $("large").showModal();
});
$("large").addEventListener("click", () => $("large").close());
$("downloads").addEventListener("click", ({ target }) => save(view.photo, target.dataset.save));
$("clear").addEventListener("click", clear);
$("drop").addEventListener("click", ({ target }) => {
  if (!target.closest("button, label, input")) $("files").click();
});
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", name === "dragover");
    if (name !== "drop") return;
    const files = [...event.dataTransfer.files];
    if (files.length) addPhotos(files);
    else say("No image file in what was dropped; copy the image and paste it here.", true);
  });
}
document.addEventListener("paste", ({ clipboardData, target }) => {
  const files = [...clipboardData.files];
  if (files.length) addPhotos(files);
  else if (!target.matches?.("input")) say("The clipboard holds no image.", true);
});

const hasRuntime = document.documentElement.dataset.runtime !== "";
$("modes").hidden = !hasRuntime;
const wanted = hasRuntime ? storedMode() ?? "device" : "server";
$("where").querySelector(`[value=${wanted}]`).checked = true;
showPromise();
// Relative, as every address here: behind a proxy the page may have a path of its own.
const predictUrl = new URL("v1/predict", document.baseURI).href;
$("curl").textContent = `curl ${predictUrl} -H "Content-Type: image/jpeg" --data-binary @photo.jpg`;
$("python").textContent = `import httpx\n\nwith open("photo.jpg", "rb") as file:\n    record = httpx.post(\n        "${predictUrl}", content=file.read(), headers={"Content-Type": "image/jpeg"}\n    ).json()`;
describe().catch(askForKey);
