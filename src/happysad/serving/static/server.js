// Ask the server: images go to it and come back as records.

export class Refused extends Error {
  constructor(status, detail, retryAfter) {
    super(detail);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

async function request(path, options, key) {
  const headers = { ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
  const response = await fetch(path, { ...options, headers });
  if (response.ok) return response.json();
  const problem = await response.json().catch(() => ({}));
  const wait = Number(response.headers.get("Retry-After")) || 0;
  throw new Refused(response.status, problem.detail ?? `the server says ${response.status}`, wait);
}

export const describeModel = (key) => request("/v1/model", {}, key);

/** Send one image; resolves to its record. */
export const askServer = (blob, key) =>
  request("/v1/predict", { method: "POST", body: blob, headers: { "Content-Type": blob.type || "application/octet-stream" } }, key);
