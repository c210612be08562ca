// How the rows of a view are distributed: endings, scores, lengths. A bar filters.
import { html, useEffect, useState } from "./dom.js";
import { t } from "./words.js";
import { get } from "./api.js";
import { columnWord } from "./columns.js";
import { Facet, Histogram } from "./bars.js";

const MAX_GROUPS = 6;
const STORED = "manycall.distributions";

/** Return the groups that say most about a file, as {kind, field}; `kind` is a route. */
function groupsOf(all) {
  const columns = all.filter(({ name }) => name !== "ending" && !name.endsWith(".len") && !name.startsWith("row.")); // These stand for other fields.
  const facets = columns.filter(({ role, type }) => role === "ending" || (role === "" && ["category", "boolean"].includes(type)));
  const scores = columns.filter(({ role }) => role === "score");
  const lengths = columns.some(({ role }) => role === "answer") ? [{ kind: "histogram", field: "answer.len" }] : [];
  const numbers = columns.filter(({ role, type }) => role === "" && type === "number");
  const verdicts = columns.filter(({ role }) => role === "verdict");
  return [
    ...[...verdicts, ...scores, ...facets].map(({ name }) => ({ kind: "facets", field: name })),
    ...lengths,
    ...numbers.map(({ name }) => ({ kind: "histogram", field: name })),
  ].slice(0, MAX_GROUPS);
}

/** All groups of a file, folded away if the user prefers. */
export function Distributions(props) {
  const [isOpen, setOpen] = useState(localStorage.getItem(STORED) !== "closed");
  if (!groupsOf(props.columns).length) return null;
  const toggle = (event) => {
    setOpen(event.currentTarget.open);
    localStorage.setItem(STORED, event.currentTarget.open ? "open" : "closed");
  };
  return html`<details class="distributions" open=${isOpen} onToggle=${toggle}><summary>${t("Distributions")}</summary>
    ${isOpen && html`<${Groups} ...${props} />`}
  </details>`;
}

/** The groups of some rows, one request after another: rows go first. Old bars stay until the new ones are there. */
export function Groups({ run, columns, file = "out", where = "", isComplete, onPick }) {
  const groups = groupsOf(columns);
  const [counts, setCounts] = useState({});
  useEffect(() => {
    const abort = new AbortController();
    const load = async () => {
      for (const { kind, field } of groups) {
        const data = await get(`runs/${run}/${kind}`, { field, file, where }, abort.signal).catch(() => null);
        if (abort.signal.aborted) return;
        setCounts((old) => ({ ...old, [field]: data }));
      }
    };
    load();
    return () => abort.abort();
  }, [run, JSON.stringify(groups), file, where, isComplete]);
  return html`<div class="histograms">${groups.map((group) => html`<${Group} key=${group.field} kind=${group.kind} title=${columnWord(group.field)} data=${counts[group.field]} onPick=${onPick} />`)}</div>`;
}

function Group({ kind, title, data, onPick }) {
  if (!data) return data === undefined && html`<figure class="histogram"><figcaption>${title}</figcaption></figure>`;
  if (kind === "histogram") return data.counts.length > 0 && html`<${Histogram} data=${data} title=${title} onPick=${onPick} />`;
  if (data.values.length > 5 && data.values[0].count === 1) return null; // Each value is there once.
  return data.values.length + (data.missing ? 1 : 0) > 0 && html`<${Facet} data=${data} title=${title} onPick=${onPick} />`;
}
