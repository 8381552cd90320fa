// Ask the server: images go to it and come back as records.

export class Refused extends Error {
  constructor(status, detail, retryAfter) {
    super(detail);
    this.status = status;
    this.retryAfter = retryAfter;
    // Asking again with the same key or the same kind of image gives the same answer; a busy server's does not last.
    this.fatal = status > 0 && status < 500 && ![408, 429].includes(status);
  }
}

async function request(path, options, key) {
  // A header with other characters cannot be sent.
  if (/[^ -~]/.test(key)) throw new Refused(401, "This API key is wrong: keys consist of ASCII characters.");
  const headers = { ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
  const response = await fetch(path, { ...options, headers }).catch(() => {
    throw new Refused(0, "The server cannot be reached.", 1);
  });
  if (response.ok) return response.json();
  const problem = await response.json().catch(() => ({}));
  const wait = Number(response.headers.get("Retry-After")) || 0;
  throw new Refused(response.status, problem.detail ?? `The server answered with status ${response.status}.`, wait);
}

export const describeModel = (key) => request("v1/model", {}, key);

/** Send one image; resolves to its record. */
export function askServer(blob, key) {
  // The content decides, not the type that the browser derives from the file's name.
  const type = blob.type.startsWith("image/") ? blob.type : "image/unknown";
  return request("v1/predict", { method: "POST", body: blob, headers: { "Content-Type": type } }, key);
}
