// The filter as chips. The chips and the text of `where` are the same thing: a conjunction of conditions.
import { html, useEffect, useRef, useState } from "./dom.js";
import { say, t } from "./words.js";
import { Line } from "./text.js";

/** Return the conditions that a filter joins with `and` at its top level; a single one if it has an `or` there. */
export function splitConditions(where) {
  const words = /"(?:[^"\\]|\\.)*"?|[()]|[^\s"()]+/g;
  const cuts = [];
  let depth = 0;
  for (const match of where.matchAll(words)) {
    if (match[0] === "(") depth += 1;
    else if (match[0] === ")") depth -= 1;
    else if (depth === 0 && match[0].toLowerCase() === "or") return [where.trim()];
    else if (depth === 0 && match[0].toLowerCase() === "and") cuts.push([match.index, match.index + 3]);
  }
  const ends = [...cuts.map(([from]) => from), where.length];
  const starts = [0, ...cuts.map(([, to]) => to)];
  return starts.map((from, index) => where.slice(from, ends[index]).trim()).filter(Boolean);
}

/** Return the filter that all conditions together are. A condition with a top-level `or` gets parentheses. */
function joinConditions(conditions) {
  if (conditions.length < 2) return conditions.join("");
  return conditions.map((each) => (splitConditions(each).length === 1 && hasOr(each) ? `(${each})` : each)).join(" and ");
}

function hasOr(condition) {
  let depth = 0;
  for (const [word] of condition.matchAll(/"(?:[^"\\]|\\.)*"?|[()]|[^\s"()]+/g)) {
    depth += word === "(" ? 1 : word === ")" ? -1 : 0;
    if (depth === 0 && word.toLowerCase() === "or") return true;
  }
  return false;
}

/** Return the filter with another condition, unless it has it. */
export function addCondition(where, condition) {
  const conditions = splitConditions(where);
  const added = splitConditions(condition).filter((each) => !conditions.includes(each));
  return joinConditions([...conditions, ...added]);
}

/** The filter: its chips, and a field to write it. `error` is the server's sentence about it. */
export function Filter({ where, onChange, error, inputRef }) {
  const [draft, setDraft] = useState(where);
  const own = useRef();
  const input = inputRef || own;
  useEffect(() => setDraft(where), [where]);
  const conditions = splitConditions(where);
  const submit = (event) => (event.preventDefault(), onChange(draft.trim()));
  const remove = (index) => {
    onChange(joinConditions(conditions.filter((_, other) => other !== index)));
    input.current.focus();
  };
  return html`<form class="filter" onSubmit=${submit}>
    <label for="where">${t("Filter")}</label>
    <input id="where" ref=${input} value=${draft} autocomplete="off" spellcheck="false" aria-invalid=${error ? "true" : null}
      aria-describedby=${error ? "where-error" : null} placeholder='score = 0 and answer.len > 2000' onInput=${(event) => setDraft(event.target.value)}
      onKeyDown=${(event) => event.key === "Escape" && (setDraft(where), event.target.blur())} />
    <button>${t("Apply")}</button>
    ${conditions.length > 0 && html`<ul class="chips" aria-label=${t("Conditions")}>
      ${conditions.map((condition, index) => html`<li class="chip"><${Line} value=${condition} />
        <button type="button" aria-label=${t("Remove the condition {condition}", { condition })} onClick=${() => remove(index)}>×</button></li>`)}
    </ul>`}
    ${error && html`<p id="where-error" class="error" role="alert"><${Line} value=${say(error.message)} />${error.hint && html` <${Line} value=${say(error.hint)} />`}</p>`}
  </form>`;
}
