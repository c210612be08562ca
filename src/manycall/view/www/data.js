// A generated dataset: is it worth keeping? Lengths, values, duplicates, rejected rows.
import { html, useState } from "./dom.js";
import { t } from "./words.js";
import { count, percent } from "./format.js";
import { go } from "./route.js";
import { untilCounted, useData, useSlow } from "./load.js";
import { useKeys } from "./keys.js";
import { Groups } from "./distributions.js";
import { addCondition } from "./filter.js";
import { line } from "./text.js";
import { Copy, copyText, Figure, Link, Slow, Table } from "./parts.js";

const SHOWN_GROUPS = 20;

export function DataPage({ route }) {
  const answer = useSlow(`runs/${route.run}/data`);
  const info = useData(`runs/${route.run}/columns`, {}, untilCounted);
  const pick = (condition) => go({ page: "rows", run: route.run, params: { where: addCondition("", condition) } });
  useKeys([["c", () => answer.data?.result?.near && copyText(answer.data.result.near), t("copy the command that does more")]]);
  return html`<section class="page scroll" aria-labelledby="title">
    <h1 id="title" tabindex="-1">${t("Data")}</h1>
    <${Slow} answer=${answer} what=${t("Looking for duplicates …")}>${(result) => html`<${Result} result=${result} run=${route.run} />`}<//>
    <h2>${t("Distributions")}</h2>
    <p class="muted">${t("A bar shows its rows.")}</p>
    <${Groups} run=${route.run} columns=${info.data?.columns || []} isComplete=${info.data && !untilCounted(info.data)} onPick=${pick} />
  </section>`;
}

function Result({ result, run }) {
  const share = result.rows ? result.duplicates / result.rows : 0;
  const rejects = [
    { label: t("Reason"), cell: (each) => line(each.reason) },
    { label: t("Rows"), number: true, cell: (each) => count(each.count) },
  ];
  return html`<dl class="figures">
      <${Figure} label=${t("rows")}>${count(result.rows)}<//>
      <${Figure} label=${t("exact duplicates")} note=${percent(share)} bad=${result.duplicates > 0}>${count(result.duplicates)}<//>
      <${Figure} label=${t("distinct words")}>${percent(result.distinct_1)}<//>
      <${Figure} label=${t("distinct word pairs")}>${percent(result.distinct_2)}<//>
      ${result.truncated != null && html`<${Figure} label=${t("truncated")} bad=${result.truncated > 0}>${count(result.truncated)}<//>`}
    </dl>
    <div class="columns-2">
      <section class="panel"><h2>${t("Duplicates, largest group first")}</h2><${Duplicates} groups=${result.groups} run=${run} />
        ${result.near && html`<p class="muted">${t("Near duplicates and contamination:")} <code>${line(result.near)}</code> <${Copy} text=${result.near} /></p>`}</section>
      <section class="panel"><h2>${t("Rejected rows by reason")}</h2><${Table} label=${t("Rejected rows by reason")} columns=${rejects} rows=${result.rejects} empty=${t("No row was rejected.")} />
        ${result.rejects.length > 0 && html`<p><${Link} to=${{ page: "rows", run, params: { file: "rejected" } }}>${t("all rejected rows →")}<//></p>`}</section>
    </div>`;
}

function Duplicates({ groups, run }) {
  const [shown, setShown] = useState(SHOWN_GROUPS);
  const columns = [
    { label: t("Rows"), number: true, cell: (group) => count(group.count) },
    { label: t("Text"), cell: (group) => line(group.text) },
    { label: t("First rows"), cell: (group) => group.n.slice(0, 4).map((n) => html`<${Link} class="button small" to=${{ page: "row", run, row: n }}>${count(n + 1)}<//> `) },
  ];
  return html`<${Table} label=${t("Duplicates")} columns=${columns} rows=${groups.slice(0, shown)} empty=${t("No two rows are equal.")} />
    ${groups.length > shown && html`<button class="small" onClick=${() => setShown(shown * 5)}>${t("show more")}</button>`}`;
}
