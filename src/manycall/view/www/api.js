// Requests to the server that serves this page: the token, errors, cancelling, downloads.
import { ApiError, saveBlob } from "./shared.js";

const STORED_TOKEN = "manycall.token";

/** Move the token from the address to the storage of this origin, and remove it from the address and the history. */
export function takeToken(hash = location.hash) {
  const match = /^#t=([\w-]+)(?:&(.*))?$/.exec(hash);
  if (!match) return;
  localStorage.setItem(STORED_TOKEN, match[1]);
  history.replaceState(null, "", `${location.pathname}#${match[2] || "/"}`);
}

const headers = () => ({ Authorization: `Bearer ${localStorage.getItem(STORED_TOKEN) || ""}` });

/** Return the URL of a route. Parameters that are null or empty are left out. */
function url(path, params = {}) {
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

/** Download the response of a route as a file. The browser sends no token with a link, so the page fetches it. */
export async function download(path, params, name) {
  saveBlob(await (await request(path, params)).blob(), name);
}
