// The page: photos and the camera in, labelled faces out.

import { Camera, drawScaled } from "./camera.js";
import { openDevice } from "./device.js";
import { ResultView, describeFace, draw, headline, plural, toCsv, toRecord } from "./result.js";
import { Refused, askServer, describeModel } from "./server.js";

const LONGEST = 1280; // Of photos as they are shown, pixels.
const LONGEST_SENT = 2560; // Of photos that the server does not accept as they are.
const STORED_MODE = "happysad-mode";
const $ = (id) => document.getElementById(id);
const mode = () => new FormData($("where")).get("mode");
const key = () => $("key").querySelector("input").value;
const toJpeg = (canvas, quality) => new Promise((done) => canvas.toBlob(done, "image/jpeg", quality));

const photos = []; // The newest first: { name, file, canvas, record, error }.
const refused = new Set(); // Photos that failed for want of an API key.
let device; // The promise of the on-device models, once they were asked for.
let threshold = 0.5;
const view = new ResultView($("result"), () => threshold);

/** Show a status, or have it only read aloud. */
function say(text, isError = false, isShown = true) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
  $("status").classList.toggle("spoken", !isShown);
}

function explain(error) {
  if (error instanceof Refused && error.status === 401) {
    $("key").hidden = false;
    $("key").querySelector("input").focus();
  }
  return error.message || String(error);
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

function changeMode() {
  const here = mode() === "device";
  localStorage.setItem(STORED_MODE, mode());
  $("promise").textContent = here
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
  const { file } = photo;
  const image = await createImageBitmap(file).catch(() => null);
  try {
    if (image) {
      photo.canvas = document.createElement("canvas");
      drawScaled(photo.canvas, image, image.width, image.height, LONGEST);
      show(photo);
    }
    photo.record = await ask(file, image);
    photo.error = undefined;
  } catch (error) {
    photo.error = explain(error);
    if (error.status === 401) refused.add(photo);
  } finally {
    image?.close();
  }
}

function addPhotos(files) {
  if (files.length) answerAll(files.map((file) => ({ name: file.name || "pasted image", file })));
}

async function answerAll(all) {
  document.body.classList.add("busy");
  let [faces, failed] = [0, 0];
  for (const [i, photo] of all.entries()) {
    say(all.length > 1 ? `Looking at photo ${i + 1} of ${all.length} …` : "Looking …");
    if (!photos.includes(photo)) photos.unshift(photo);
    show(photo);
    await answer(photo);
    show(photo);
    faces += photo.record?.faces.length ?? 0;
    failed += photo.error ? 1 : 0;
  }
  say(`${plural(faces, "face")} in ${plural(all.length - failed, "photo")}` +
    (failed ? `; ${failed} without an answer` : ""), failed > 0);
}

function show(photo) {
  view.show(photo);
  $("strip").hidden = false;
  $("photos").replaceChildren(...photos.map((each) => {
    const [item, button, small] = ["li", "button", "canvas"].map((name) => document.createElement(name));
    [small.width, small.height] = [176, 132];
    if (each.canvas) {
      const scale = Math.max(176 / each.canvas.width, 132 / each.canvas.height);
      const [width, height] = [each.canvas.width * scale, each.canvas.height * scale];
      small.getContext("2d").drawImage(each.canvas, (176 - width) / 2, (132 - height) / 2, width, height);
    }
    if (each.error) button.className = "failed";
    button.type = "button";
    button.setAttribute("aria-label", `${each.name}: ${each.error ?? headline(each.record?.faces ?? [])}`);
    button.setAttribute("aria-current", String(each === photo));
    button.append(small);
    button.addEventListener("click", () => show(each));
    item.append(button);
    return item;
  }));
}

function save(kind) {
  const { name, canvas, record } = view.photo;
  const saved = toRecord(view.photo);
  const stem = name.replace(/\.\w+$/, "");
  const download = (blob, suffix) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${stem}.${suffix}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };
  if (kind === "csv") download(new Blob([toCsv(saved)], { type: "text/csv" }), "csv");
  if (kind === "json") download(new Blob([JSON.stringify(saved, null, 2)], { type: "application/json" }), "json");
  if (kind === "image" && canvas) {
    const copy = document.createElement("canvas");
    draw(copy, canvas, record);
    toJpeg(copy, 0.92).then((blob) => download(blob, "faces.jpg"));
  }
}

function clear() {
  photos.length = 0;
  refused.clear();
  $("result").hidden = $("strip").hidden = true;
  document.body.classList.toggle("busy", camera.isOn);
  say("");
}

function showCamera(on) {
  $("live").hidden = !on;
  document.body.classList.toggle("busy", on || photos.length > 0);
  $("camera").textContent = on ? "Stop the camera" : "Use the camera";
  $("camera").setAttribute("aria-pressed", String(on));
}

const camera = new Camera(
  Object.fromEntries(["video", "view", "trouble", "timeline", "rate", "cameras", "choice"].map((id) => [id, $(id)])),
  {
    ask: async (frame) => (mode() === "device" ? (await onDevice())(frame) : askServer(await toJpeg(frame, 0.85), key())),
    threshold: () => threshold,
    onStatus: (faces) => say(faces.length ? faces.map((face) => `${face.person}: ${describeFace(face, threshold)}`).join("; ") : "No face detected.", false, false),
    onEnd: (reason, isError) => { showCamera(false); say(reason, isError); },
  },
);

$("where").addEventListener("change", changeMode);
$("key").addEventListener("submit", (event) => {
  event.preventDefault();
  $("key").hidden = true;
  describe().then(
    () => {
      const again = [...refused];
      refused.clear();
      if (again.length) answerAll(again);
    },
    (error) => say(explain(error), true),
  );
});
$("files").addEventListener("change", ({ target }) => {
  addPhotos([...target.files]);
  target.value = ""; // The same photo can be chosen again.
});
$("camera").addEventListener("click", () => {
  if (camera.isOn) return camera.stop();
  showCamera(true);
  camera.start();
});
$("cameras").addEventListener("change", ({ target }) => camera.start(target.value));
$("snapshot").addEventListener("click", async () => {
  const blob = await toJpeg(camera.frame, 0.92);
  addPhotos([new File([blob], `photo ${new Date().toLocaleTimeString()}.jpg`, { type: "image/jpeg" })]);
});
$("samples").addEventListener("click", async ({ target }) => {
  const name = target.closest("button")?.dataset.sample;
  if (!name) return;
  const response = await fetch(`samples/${name}.jpg`);
  addPhotos([new File([await response.blob()], `${name}.jpg`, { type: "image/jpeg" })]);
});
$("enlarge").addEventListener("click", () => {
  const { name, canvas, record } = view.photo;
  const large = $("large").querySelector("canvas");
  draw(large, canvas, record);
  large.setAttribute("aria-label", name);
  $("large").showModal();
});
$("large").addEventListener("click", () => $("large").close());
$("downloads").addEventListener("click", ({ target }) => save(target.dataset.save));
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
const wanted = hasRuntime ? localStorage.getItem(STORED_MODE) ?? "device" : "server";
$("where").querySelector(`[value=${wanted}]`).checked = true;
changeMode();
// Relative, as every address here: behind a proxy the page may have a path of its own.
const predictUrl = new URL("v1/predict", document.baseURI).href;
$("curl").textContent = `curl ${predictUrl} -H "Content-Type: image/jpeg" --data-binary @photo.jpg`;
$("python").textContent = `import httpx\n\nwith open("photo.jpg", "rb") as file:\n    record = httpx.post(\n        "${predictUrl}", content=file.read(), headers={"Content-Type": "image/jpeg"}\n    ).json()`;
describe().catch(explain);
