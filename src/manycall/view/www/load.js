// Hooks that load JSON for a component and cancel when it changes or goes away.
import { useEffect, useLayoutEffect, useRef, useState } from "./dom.js";
import { get } from "./api.js";

const WORKING_MS = 1000;
const RETRY_MS = 2000;

/**
 * Load a route. Returns {data, error, reload}. On a reload the old data stay until the new ones arrive.
 *
 * `every` (ms, or a function of the data that returns ms or 0) asks again while the tab is visible. A null path loads
 * nothing.
 */
export function useData(path, params = {}, every = 0) {
  const key = path === null ? null : path + JSON.stringify(params);
  const [state, setState] = useState({ key, data: null, error: null });
  const [round, setRound] = useState(0);
  const latest = useRef(every); // A request that began in an earlier render is followed as the newest one says.
  latest.current = every;
  useLayoutEffect(() => { // Before the next paint.
    if (path === null) return undefined;
    const abort = new AbortController();
    let timer = 0;
    const later = (ms) => {
      if (ms && !abort.signal.aborted) timer = setTimeout(load, ms);
    };
    const load = async () => {
      if (document.hidden) return later(WORKING_MS);
      try {
        const data = await get(path, params, abort.signal);
        setState({ key, data, error: null });
        return later(typeof latest.current === "function" ? latest.current(data) : latest.current);
      } catch (error) {
        if (error.name === "AbortError") return undefined;
        setState((old) => ({ key, data: old.key === key ? old.data : null, error }));
        if (typeof latest.current !== "function") return later(latest.current);
        return later(error.status === 0 || error.status >= 500 ? RETRY_MS : 0); // Not there, or too slow just now.
      }
    };
    load();
    return () => (abort.abort(), clearTimeout(timer));
  }, [key, round]);
  const reload = () => setRound((n) => n + 1);
  useEffect(() => {
    addEventListener("session", reload);
    return () => removeEventListener("session", reload);
  }, []);
  const current = state.key === key ? state : { data: null, error: null }; // Never the data of another route.
  return { ...current, reload };
}

/** Load an answer that the server computes in the background; ask once a second while it works. */
export const useSlow = (path, params) => useData(path, params, (data) => (data.state === "working" ? WORKING_MS : 0));

/** How long to wait before the columns are asked for again: 0 once the rows of each quick filter are counted. */
export const untilCounted = ({ quick }) => (quick.some((each) => each.count === null) ? WORKING_MS : 0);

/** Return a value that follows another one after it has not changed for this many milliseconds. */
export function useSettled(value, ms) {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), ms);
    return () => clearTimeout(timer);
  }, [value, ms]);
  return settled;
}
