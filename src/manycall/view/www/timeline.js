// New lines of timeline.jsonl added to the columns that the live page draws. Pure.

const MAX_POINTS = 1500;
const MAX_EVENTS = 500;
const MAX_SPANS = 600;
const GAP_SECONDS = 30; // A longer pause is between two sessions.
const REASONS = [
  ["machine", /this machine|ulimit/], ["concurrency", /concurrency|-j /], ["server", /server at capacity/], ["quota", /quota|429/],
  ["budget", /budget/], ["window", /window/],
];
const GAUGES = ["calls_per_s", "tokens_per_s", "rows_per_s", "in_flight", "window", "total_ended", "total_cost"];
const RATES = { http_429_per_s: "http_429", retries_per_s: "retries", failed_per_s: "failed" };

/** A timeline without a line. */
export const emptyTimeline = () => ({ time: [], series: {}, limited_by: [], sessions: [], events: [], bucket: 1, cursor: "" });

/**
 * Return the state of the live page with new lines. `state` is {timeline, figures, endpoints, oldest, …}; lines are
 * figures, events or the health of an endpoint. A span with an end does not take in new points.
 */
export function addLines(state, lines, span) {
  const next = { ...state, timeline: copy(state.timeline || emptyTimeline()) };
  for (const line of lines) {
    if (line.health) next.endpoints = withEndpoint(next.endpoints || [], line);
    else if ("event" in line) next.timeline.events = [...next.timeline.events, line].slice(-MAX_EVENTS);
    else {
      if (!span.to) addPoint(next.timeline, line, next.figures);
      next.figures = line;
      next.oldest = line.oldest || [];
    }
  }
  return next;
}

const copy = (timeline) => ({
  ...timeline,
  time: [...timeline.time],
  series: Object.fromEntries(Object.entries(timeline.series).map(([name, { mean }]) => [name, { mean: [...mean] }])),
  limited_by: [...timeline.limited_by],
});

const withEndpoint = (endpoints, line) =>
  endpoints.some((each) => each.endpoint === line.endpoint)
    ? endpoints.map((each) => (each.endpoint === line.endpoint ? line : each))
    : [...endpoints, line];

function addPoint(timeline, line, before) {
  const { time, series, limited_by } = timeline;
  if (time.length && line.time <= time.at(-1)) return;
  const point = { ...Object.fromEntries(GAUGES.map((name) => [name, line[name]])) };
  const seconds = before ? line.time - before.time : 0;
  for (const [name, counter] of Object.entries(RATES)) {
    const change = before && line[counter] - before[counter];
    point[name] = seconds > 0 && change >= 0 ? change / seconds : null;
  }
  for (const name of Object.keys({ ...series, ...point })) {
    series[name] ||= { mean: time.map(() => null) };
    series[name].mean.push(point[name] ?? null);
  }
  time.push(line.time);
  if (line.limited_by) addSpan(limited_by, line.time, line.limited_by);
  if (time.length > MAX_POINTS) thin(timeline);
  if (limited_by.length > MAX_SPANS) timeline.limited_by = joinShort(limited_by);
}

function addSpan(spans, time, text) {
  const reason = reasonOf(text);
  const last = spans.at(-1);
  const isNear = last && time - last.to < GAP_SECONDS;
  if (isNear && last.reason === reason) spans[spans.length - 1] = { ...last, to: time, text };
  else spans.push({ from: isNear ? last.to : time, to: time, reason, text });
}

/** Join the spans of the older half in pairs, each with what the longer one says. */
function joinShort(spans) {
  const joined = [];
  spans.forEach((span, index) => {
    const last = joined.at(-1);
    if (index % 2 === 0 || index > MAX_SPANS / 2 || span.from - last.to >= GAP_SECONDS) joined.push(span);
    else joined[joined.length - 1] = { ...(span.to - span.from > last.to - last.from ? span : last), from: last.from, to: span.to };
  });
  return joined;
}

/** Keep every second point of the older half, so that a page that is open for days stays as small. */
function thin({ time, series }) {
  const kept = time.map((_, index) => index > MAX_POINTS / 2 || index % 2 === 0);
  const keep = (column) => column.filter((_, index) => kept[index]);
  for (const each of Object.values(series)) each.mean = keep(each.mean);
  const times = keep(time);
  time.length = 0;
  time.push(...times);
}

/** Return the word for what limits a run, from the text in the file; the server has the same table. */
export const reasonOf = (text) => REASONS.find(([, pattern]) => pattern.test(text))?.[0] || "other";
