// Requests to the server that serves this page: the token, errors, cancelling, downloads.
const STORED_TOKEN = "manycall.token";

/** An error response as the server worded it. `status` 0 means that there was no response. */
export class ApiError extends Error {
  constructor(status, message, hint = "") {
    super(message);
    this.status = status;
    this.hint = hint;
  }
}

/** Move the token from the address to the storage of this origin, and remove it from the address and the history. */
export function takeToken(hash = location.hash) {
  const match = /^#t=([\w-]+)(?:&(.*))?$/.exec(hash);
  if (!match) return;
  localStorage.setItem(STORED_TOKEN, match[1]);
  history.replaceState(null, "", `${location.pathname}#${match[2] || "/"}`);
}

const headers = () => ({ Authorization: `Bearer ${localStorage.getItem(STORED_TOKEN) || ""}` });

/** Return the URL of a route. Parameters that are null or empty are left out. */
export function url(path, params = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, value);
  }
  const text = query.toString();
  return `api/${path}${text ? `?${text}` : ""}`;
}

/** Send a GET request and return the response. Raises ApiError for every other status than 200. */
export async function request(path, params, signal) {
  let response;
  try {
    response = await fetch(url(path, params), { headers: headers(), signal, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "offline");
  }
  if (response.ok) return response;
  let body = {};
  try {
    body = await response.json();
  } catch {
    // The body is no JSON: the status has to do.
  }
  throw new ApiError(response.status, body.error || `HTTP ${response.status}`, body.hint || "");
}

/** Return the JSON of a route. */
export async function get(path, params, signal) {
  return (await request(path, params, signal)).json();
}

/** Call `onLine` with each line of a route that answers with JSON lines, as it arrives. */
export async function getLines(path, params, signal, onLine) {
  const reader = (await request(path, params, signal)).body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    const lines = (rest + (value || "")).split("\n");
    rest = done ? "" : lines.pop();
    for (const line of lines) if (line.trim()) onLine(JSON.parse(line));
    if (done) return;
  }
}

/** Download the response of a route as a file. The browser sends no token with a link, so the page fetches it. */
export async function download(path, params, name) {
  saveBlob(await (await request(path, params)).blob(), name);
}

/** Offer these bytes as a download. */
export function saveBlob(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
