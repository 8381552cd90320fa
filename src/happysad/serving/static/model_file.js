// Model files, and their metadata: a ZIP archive of uncompressed files at the end of a .tflite file.

const [END, ENTRY] = [0x06054b50, 0x02014b50];
const END_LENGTH = 22;

/** Download a model file as bytes. */
export async function fetchFile(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: the server answered with status ${response.status}.`);
  return new Uint8Array(await response.arrayBuffer());
}

/** Return happysad.json of a classifier, as an object; throws if the file has none. */
export function readContract(file) {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const end = file.byteLength - END_LENGTH;
  if (end < 0 || view.getUint32(end, true) !== END) throw new Error("The model file has no metadata.");
  const entries = end - view.getUint32(end + 12, true);
  const archive = entries - view.getUint32(end + 16, true);
  const text = (from, length) => new TextDecoder().decode(file.subarray(from, from + length));
  for (let at = entries; at < end && view.getUint32(at, true) === ENTRY;) {
    const [name, extra, comment] = [28, 30, 32].map((offset) => view.getUint16(at + offset, true));
    if (text(at + 46, name) === "happysad.json") {
      const local = archive + view.getUint32(at + 42, true);
      const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
      return JSON.parse(text(start, view.getUint32(at + 20, true)));
    }
    at += 46 + name + extra + comment;
  }
  throw new Error("The model file has no happysad.json.");
}
