// Time series on a canvas. A canvas says nothing to a screen reader, so each chart has a sentence and a table.
import { html, useEffect, useLayoutEffect, useRef, useState } from "./dom.js";
import uPlot from "./vendor/uplot.js";
import { say, t } from "./words.js";
import { clockTime, compact, duration, measure } from "./format.js";
import { Table } from "./parts.js";

const HEIGHT_PX = 150;
const TABLE_ROWS = 60;

if (document.querySelector("link[href$='style.css']")) { // A page in one file has all sheets.
  document.head.prepend(Object.assign(document.createElement("link"), { rel: "stylesheet", href: "static/vendor/uplot.css" }));
}

/** Return the resolved color of a CSS variable: `light-dark()` is only resolved in a property. */
function resolve(name) {
  const probe = document.createElement("i");
  probe.className = "probe";
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

/** Return the columns with a null between two sessions, so that no line is drawn through a pause. */
function breakLines(times, columns, bucket) {
  const gap = Math.max(30, bucket * 3);
  const out = [[], ...columns.map(() => [])];
  times.forEach((time, index) => {
    if (index && time - times[index - 1] > gap) {
      out[0].push((time + times[index - 1]) / 2);
      columns.forEach((_, number) => out[number + 1].push(null));
    }
    out[0].push(time);
    columns.forEach((column, number) => out[number + 1].push(column[index] ?? null));
  });
  return out;
}

function options(series, width, theme, onZoom, format) {
  const unit = format === duration ? "s" : "";
  const axis = { stroke: theme.muted, grid: { stroke: theme.line, width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
  const times = (_, values, __, ___, step) => values.map((value) => clockTime(value, step < 60));
  return {
    width,
    height: HEIGHT_PX,
    ms: 1e-3,
    cursor: { drag: { x: true, y: false, setScale: false }, points: { size: 6 }, sync: { key: "live" } },
    legend: { live: true },
    scales: { y: { range: (_, low, high) => [Math.min(0, low || 0), high > 0 ? high * 1.08 : 1] } },
    axes: [{ ...axis, size: 24, values: times, space: 70 }, { ...axis, size: 48, space: 30, values: (_, values) => values.map((value) => (unit ? `${measure(value)} ${unit}` : compact(value))) }],
    series: [
      { label: t("time"), value: (_, value) => (value === null ? "–" : clockTime(value, true)) },
      ...series.map((each, index) => ({
        label: each.label,
        stroke: theme.strokes[index],
        width: 1.5,
        dash: index ? [5, 3] : undefined,
        points: { show: false },
        value: (_, value) => (value === null || value === undefined ? "–" : format(value)),
      })),
    ],
    hooks: {
      setSelect: [(plot) => {
        if (plot.select.width < 8) return;
        const [from, to] = [plot.select.left, plot.select.left + plot.select.width].map((x) => plot.posToVal(x, "x"));
        plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
        onZoom(from, to);
      }],
    },
  };
}

/** A chart of one or two series over time. `series` are {label, values}. */
export function Chart({ title, times, series, bucket = 1, format = measure, onZoom, span, theme }) {
  const place = useRef();
  const plot = useRef(null);
  const [asTable, setAsTable] = useState(false);
  const data = breakLines(times, series.map((each) => each.values), bucket);
  const latest = useRef(data);
  latest.current = data;
  const names = series.map((each) => each.label).join("\n");
  useLayoutEffect(() => {
    if (asTable) return undefined;
    const strokes = [resolve("--accent"), resolve("--second")];
    const size = () => Math.max(200, place.current.clientWidth);
    plot.current = new uPlot(options(series, size(), { muted: resolve("--muted"), line: resolve("--line"), strokes }, onZoom, format), latest.current, place.current);
    const observer = new ResizeObserver(() => plot.current.setSize({ width: size(), height: HEIGHT_PX }));
    observer.observe(place.current);
    return () => (observer.disconnect(), plot.current.destroy(), (plot.current = null));
  }, [asTable, names, theme]);
  useEffect(() => {
    if (!plot.current) return;
    plot.current.setData(data, false);
    plot.current.setScale("x", { min: span[0], max: span[1] });
  }, [times.length, times.at(-1), span[0], span[1], asTable, names, theme]);
  return html`<figure class="chart" role="group" aria-label=${title}>
    <figcaption><strong>${title}</strong>
      <button class="small" aria-pressed=${asTable ? "true" : "false"} onClick=${() => setAsTable(!asTable)}>${t("table")}</button></figcaption>
    <p class="muted sentence">${sentence(series, format)}</p>
    ${asTable ? html`<${SeriesTable} title=${title} times=${times} series=${series} format=${format} />` : html`<div ref=${place} aria-hidden="true"></div>`}
  </figure>`;
}

/** Say the last value of each series and its highest one. */
function sentence(series, format) {
  return series
    .map(({ label, values }) => {
      const known = values.filter((value) => value !== null && value !== undefined);
      if (!known.length) return `${label}: ${t("no values")}`;
      return t("{label} {last}, highest {highest}", { label, last: format(known.at(-1)), highest: format(known.reduce((a, b) => Math.max(a, b))) });
    })
    .join(" · ");
}

function SeriesTable({ title, times, series, format }) {
  const step = Math.max(1, Math.ceil(times.length / TABLE_ROWS));
  const rows = times.map((_, index) => index).filter((index) => index % step === 0 || index === times.length - 1);
  const columns = [
    { label: t("time"), cell: (index) => clockTime(times[index], true) },
    ...series.map((each) => ({ label: each.label, number: true, cell: (index) => (each.values[index] == null ? "–" : format(each.values[index])) })),
  ];
  return html`<${Table} label=${title} columns=${columns} rows=${rows.toReversed()} empty=${t("no values")} />`;
}

const REASONS = ["window", "server", "quota", "concurrency", "machine", "budget", "other"];

/** What limited the throughput over time, as a ribbon with the words in it, and as a list for readers. */
export function Ribbon({ spans, from, to }) {
  const width = (span) => ((Math.min(to, span.to) - Math.max(from, span.from)) / (to - from)) * 100;
  const shown = spans.filter((span) => span.to > from && span.from < to && to > from);
  const gaps = [];
  let at = from;
  for (const span of shown) {
    if (span.from > at) gaps.push({ reason: "", from: at, to: span.from });
    gaps.push(span);
    at = Math.max(at, span.to);
  }
  if (at < to) gaps.push({ reason: "", from: at, to });
  return html`<figure class="ribbon-figure"><figcaption><strong>${t("Limited by")}</strong></figcaption>
    <div class="ribbon" role="list" aria-label=${t("What limited the throughput over time")}>
      ${gaps.map((span) => span.reason
        ? html`<span role="listitem" class=${`reason reason-${REASONS.indexOf(span.reason)}`} title=${`${say(span.text)} · ${clockTime(span.from, true)}–${clockTime(span.to, true)}`}
            style=${{ width: `${width(span)}%` }}>${width(span) > 6 ? reasonWord(span.reason) : html`<span class="sr">${reasonWord(span.reason)}</span>`}</span>`
        : html`<span class="reason-none" role="presentation" style=${{ width: `${width(span)}%` }}></span>`)}
    </div></figure>`;
}

/** Return the word of a reason. */
function reasonWord(reason) {
  const words = {
    window: t("window"), server: t("server"), quota: t("quota"), concurrency: t("concurrency limit"), machine: t("this machine"),
    budget: t("budget"), other: t("other"),
  };
  return words[reason] || reason;
}
