// Server-sent events, read with fetch because EventSource cannot send the token. The id of an event is a cursor in
// timeline.jsonl, so a stream continues after anything: the server keeps no state of a page.
import { get, request } from "./api.js";
import { ApiError } from "./shared.js";

const FIRST_WAIT_MS = 500;
const MAX_WAIT_MS = 8000;
const POLL_MS = 1000;

/** Incremental parser of an event stream. */
export class EventParser {
  #rest = "";

  /** Return the events that this piece of text completes, as {id, event, data}. Comments are skipped. */
  push(text) {
    const blocks = (this.#rest + text).replace(/\r\n?/g, "\n").split("\n\n");
    this.#rest = blocks.pop();
    return blocks.map(parseEvent).filter((event) => event.data !== null);
  }
}

function parseEvent(block) {
  const event = { id: "", event: "message", data: null };
  for (const line of block.split("\n")) {
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (field === "data") event.data = event.data === null ? value : `${event.data}\n${value}`;
    else if (field === "id" || field === "event") event[field] = value;
  }
  return event;
}

const pause = (ms, signal) =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });

/**
 * Follow the timeline of a run from a cursor until `stop()` is called.
 *
 * The stream is dropped while the tab is hidden and continues at its cursor. If the server has no stream left (503), the
 * page asks once a second instead. `onLines(lines)` gets new lines of the timeline, `onState(state)` the state of the
 * run, `onReset()` tells that the file has started again (then `stop()` and start anew), and `onLink(link)` is "live",
 * "polling", "waiting" or "hidden".
 */
export function follow(run, from, { onLines, onState, onReset, onLink }) {
  let cursor = from;
  let stopped = false;
  let current = new AbortController();

  const handlers = {
    lines: (event) => ((cursor = event.id), onLines(JSON.parse(event.data))),
    state: (event) => onState(JSON.parse(event.data)),
    reset: () => onReset(),
  };
  const stream = async (signal) => {
    const response = await request(`runs/${run}/events`, { from: cursor }, signal);
    onLink("live");
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const parser = new EventParser();
    for (;;) {
      const { done, value } = await reader.read();
      if (done || stopped) return;
      for (const event of parser.push(value)) handlers[event.event]?.(event);
    }
  };
  const poll = async (signal) => {
    onLink("polling");
    while (!signal.aborted) {
      const reply = await get(`runs/${run}/lines`, { from: cursor }, signal);
      if (reply.reset) return onReset();
      cursor = reply.cursor;
      if (reply.lines.length) onLines(reply.lines);
      onState(reply.state);
      await pause(POLL_MS, signal);
    }
  };
  const connect = async (signal) => {
    try {
      await stream(signal);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 503) throw error;
      await poll(signal);
    }
  };
  const loop = async () => {
    let wait = FIRST_WAIT_MS;
    while (!stopped) {
      if (document.hidden) {
        onLink("hidden");
        await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
        continue;
      }
      const started = performance.now();
      current = new AbortController();
      try {
        await connect(current.signal);
      } catch {
        // The connection broke or the tab was hidden. It is opened again below.
      }
      if (stopped || document.hidden) continue;
      onLink("waiting");
      wait = performance.now() - started > MAX_WAIT_MS ? FIRST_WAIT_MS : Math.min(MAX_WAIT_MS, wait * 2);
      await pause(wait, current.signal);
    }
  };
  const onHidden = () => document.hidden && current.abort();
  document.addEventListener("visibilitychange", onHidden);
  loop();
  return {
    stop() {
      stopped = true;
      current.abort();
      document.removeEventListener("visibilitychange", onHidden);
    },
  };
}
