// What the page shows is in the fragment of its address: #/run/ID/rows?where=…&sort=…
// A fragment is sent to no server, works from a file, and Back and Forward change it.
import { useEffect, useState } from "./dom.js";

/** Return {page, run, row, params} of a fragment. Unknown addresses are the list of runs. */
export function parseRoute(hash) {
  const [path, query = ""] = hash.replace(/^#/, "").split(/\?(.*)/s);
  const params = Object.fromEntries(new URLSearchParams(query));
  const parts = path.split("/").filter(Boolean).map(decodePart);
  if (parts[0] === "compare") return { page: "compare", params };
  if (parts[0] !== "run" || !parts[1]) return { page: "runs", params };
  const route = { page: parts[2] || "live", run: parts[1], params };
  if (route.page === "row") route.row = Math.max(0, Number.parseInt(parts[3], 10) || 0);
  return route;
}

function decodePart(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Return the fragment of a route. Empty parameters are left out. */
export function formatRoute({ page, run, row, params = {} }) {
  const kept = Object.entries(params).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const query = kept.length ? `?${new URLSearchParams(kept)}` : "";
  if (page === "runs") return `#/${query}`;
  if (page === "compare") return `#/compare${query}`;
  return `#/run/${encodeURIComponent(run)}/${page}${page === "row" ? `/${row}` : ""}${query}`;
}

/** Show another route. `replace` adds no entry to the history, for changes such as the selected row. */
export function go(route, replace = false) {
  const hash = formatRoute(route);
  if (hash === location.hash) return;
  if (replace) history.replaceState(null, "", hash);
  else history.pushState(null, "", hash);
  dispatchEvent(new Event("routechange"));
}

/** Return the current route, and render again when it changes. */
export function useRoute() {
  const [route, setRoute] = useState(() => parseRoute(location.hash));
  useEffect(() => {
    const update = () => setRoute(parseRoute(location.hash));
    for (const name of ["hashchange", "popstate", "routechange"]) addEventListener(name, update);
    return () => {
      for (const name of ["hashchange", "popstate", "routechange"]) removeEventListener(name, update);
    };
  }, []);
  return route;
}
