// What can be downloaded of a photo: its record as CSV or JSON, its image with outlined faces.

import { toJpeg } from "./camera.js";
import { draw } from "./result.js";

const COLUMNS = [
  "path", "status", "face", "label", "probability", "happy", "sad", "neither",
  "left", "top", "width", "height", "confidence", "error",
];

/** Download a photo's record as "csv" or "json", or its "image" with the faces outlined. */
export function save(photo, kind) {
  const { name, canvas, record } = photo;
  const saved = toRecord(photo);
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

/** The record of a photo as it is downloaded; of one that could not be answered, its error. */
function toRecord({ name, record, error }) {
  const failed = { schema: 2, path: name, status: "error", width: null, height: null, faces: [], error };
  return record ? { ...record, path: name } : failed;
}

/** A record as CSV, with the columns and rows of `happysad predict --csv`. */
function toCsv({ path, status, faces, error }) {
  const rows = faces.map(({ label, probability, scores, box, confidence }, i) => [
    path, status, i + 1, label, probability, scores.happy, scores.sad, scores.neither,
    ...box.map((v) => v.toFixed(1)), confidence, "",
  ]);
  if (!rows.length) rows.push([path, status, ...Array(COLUMNS.length - 3).fill(""), error ?? ""]);
  const quoted = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  return [COLUMNS, ...rows].map((row) => `${row.map(quoted).join(",")}\r\n`).join("");
}
