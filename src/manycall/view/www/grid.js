// A table of up to millions of rows of fixed height. About 30 rows are in the document; pages of 50 are fetched.
//
// An element cannot be taller than 17.9 million pixels in Firefox (a million rows of 28 px are 28 million), so the
// spacer ends at 6 million and the scroll position is a share of it. Wheel and keys move by rows.
import { html, useEffect, useLayoutEffect, useRef, useState, classes } from "./dom.js";
import { t } from "./words.js";

const ROW_PX = 28;
const PAGE_ROWS = 50;
const MAX_SPACER_PX = 6_000_000;
const KEPT_PAGES = 40;
const FETCH_DELAY_MS = 40;

/** Return the height of the spacer for this many rows. */
const spacerHeight = (total) => Math.min(total * ROW_PX, MAX_SPACER_PX);

/** Return the first visible row for a scroll position. */
export function topRow(scrollTop, total, seen, viewPx) {
  const span = spacerHeight(total) - viewPx;
  if (span <= 0) return 0;
  return Math.max(0, Math.min(total - seen, Math.round((scrollTop / span) * (total - seen))));
}

/** Return the scroll position that shows this row first. */
export function scrollFor(row, total, seen, viewPx) {
  const span = spacerHeight(total) - viewPx;
  return total > seen && span > 0 ? (Math.max(0, Math.min(row, total - seen)) / (total - seen)) * span : 0;
}

/** Return the row that a key selects, or null for a key that does not move. */
export function moved(key, row, total, seen) {
  const steps = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: seen - 1, PageUp: 1 - seen, Home: -total, End: total };
  return key in steps ? Math.max(0, Math.min(total - 1, row + steps[key])) : null;
}

/** Pages of rows, fetched when they are seen; the 40 used last are kept. */
class Pages {
  constructor(fetchRows) {
    this.fetchRows = fetchRows;
    this.pages = new Map();
    this.aborts = new Map();
  }

  row(index) {
    return this.pages.get(Math.floor(index / PAGE_ROWS))?.[index % PAGE_ROWS];
  }

  async need(first, last, onArrived) {
    const wanted = new Set();
    for (let page = Math.floor(first / PAGE_ROWS); page <= Math.floor(last / PAGE_ROWS); page++) wanted.add(page);
    for (const [page, abort] of this.aborts) {
      if (wanted.has(page)) continue;
      abort.abort();
      this.aborts.delete(page);
    }
    await Promise.all([...wanted].filter((page) => !this.aborts.has(page)).map((page) => this.fetch(page, last, onArrived)));
  }

  async fetch(page, last, onArrived) {
    const have = this.pages.get(page);
    const isWhole = have && (have.length === PAGE_ROWS || page * PAGE_ROWS + have.length > last);
    if (isWhole) {
      this.pages.delete(page); // Used last: to the end of the map.
      this.pages.set(page, have);
      return;
    }
    const abort = new AbortController();
    this.aborts.set(page, abort);
    try {
      const rows = await this.fetchRows(page * PAGE_ROWS, PAGE_ROWS, abort.signal);
      this.pages.set(page, rows);
      if (this.pages.size > KEPT_PAGES) this.pages.delete(this.pages.keys().next().value);
      onArrived();
    } catch (error) {
      if (error.name !== "AbortError") onArrived(error);
    } finally {
      if (this.aborts.get(page) === abort) this.aborts.delete(page);
    }
  }
}

/**
 * The grid. `inMemory` are all rows, if they are known; else `fetchRows` gets them. `columns` are {name, label, width, cell(row, index), number}; `fetchRows(offset, limit, signal)` returns rows.
 * `version` identifies the view: another one starts with empty pages, or with the first rows in `seed`. The grid is one tab stop; the selected row is
 * `aria-activedescendant`.
 */
export function Grid({ columns, total, version, fetchRows, selected, onSelect, onOpen, sort, onSort, label, onError, actions, seed, inMemory }) {
  const root = useRef();
  const head = useRef();
  const [top, setTop] = useState(Math.max(0, selected - 5));
  const [viewPx, setViewPx] = useState(400);
  const [, redraw] = useState(0);
  const store = useRef(null);
  if (store.current?.version !== version) store.current = Object.assign(new Pages(fetchRows), { version });
  store.current.fetchRows = fetchRows;
  if (seed?.length && seed !== store.current.seed) store.current.pages.set(0, (store.current.seed = seed));
  const current = useRef(selected); // Keys may come faster than the table is drawn.
  current.current = selected;
  const rowAt = (index) => (inMemory ? inMemory[index] : store.current.row(index));
  const seen = Math.max(1, Math.min(total, Math.floor(viewPx / ROW_PX)));
  const first = Math.max(0, Math.min(top, total - seen));
  const last = Math.min(total, first + seen + 1) - 1;

  useLayoutEffect(() => {
    const measure = () => setViewPx(root.current.clientHeight - head.current.offsetHeight);
    const observer = new ResizeObserver(measure);
    observer.observe(root.current);
    measure();
    return () => observer.disconnect();
  }, []);
  useLayoutEffect(() => {
    // After a change of size or rows, the scroll bar shows where the rows are.
    if (topRow(root.current.scrollTop, total, seen, viewPx) !== first) root.current.scrollTop = scrollFor(first, total, seen, viewPx);
  }, [total, seen, viewPx, version]);
  useEffect(() => {
    if (!total || inMemory) return undefined;
    const pages = store.current;
    const arrived = (error) => (error ? onError(error) : pages === store.current && redraw((n) => n + 1));
    const delay = pages.row(first) || pages.pages.size === 0 ? 0 : FETCH_DELAY_MS;
    const timer = setTimeout(() => pages.need(first, last, arrived), delay);
    return () => clearTimeout(timer);
  }, [first, last, version, total]);

  const show = (row) => {
    const next = row < first ? row : row > first + seen - 1 ? row - seen + 1 : first;
    moveTo(next);
  };
  const moveTo = (row) => {
    if (!root.current) return; // The page has changed meanwhile.
    setTop(row);
    root.current.scrollTop = scrollFor(row, total, seen, viewPx);
  };
  useEffect(() => {
    if (total && (selected < first || selected > first + seen - 1)) show(Math.min(selected, total - 1));
  }, [selected, version]);
  const seenBefore = useRef(seen);
  useEffect(() => {
    // A table that became smaller still shows the selected row, if it has shown it before.
    const wasVisible = selected >= first && selected < first + seenBefore.current;
    seenBefore.current = seen;
    if (total && wasVisible) show(selected);
  }, [seen]);
  const onScroll = () => {
    if (!root.current) return;
    const row = topRow(root.current.scrollTop, total, seen, viewPx);
    const isOwn = Math.abs(root.current.scrollTop - scrollFor(first, total, seen, viewPx)) < 2;
    if (!isOwn && row !== first) setTop(row);
  };
  const onWheel = (event) => {
    if (total * ROW_PX <= MAX_SPACER_PX || !event.deltaY || event.shiftKey) return;
    event.preventDefault();
    const rows = event.deltaMode === 1 ? event.deltaY : event.deltaY / ROW_PX;
    moveTo(Math.max(0, Math.min(total - seen, first + Math.sign(rows) * Math.max(1, Math.round(Math.abs(rows))))));
  };
  useEffect(() => {
    const element = root.current;
    element.addEventListener("wheel", onWheel, { passive: false });
    return () => element.removeEventListener("wheel", onWheel);
  });
  const onKeyDown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const at = current.current;
    const next = moved(event.key, at, total, seen);
    const action = event.key === "Enter" ? () => onOpen(rowAt(at), at) : actions?.[event.key];
    if (next === null && !action) return;
    event.preventDefault();
    if (!total) return;
    if (action) action(rowAt(at), at);
    else (onSelect((current.current = next)), show(next));
  };

  const template = columns.map((column) => `${column.width}px`).join(" ");
  const width = columns.reduce((sum, column) => sum + column.width, 0);
  const rows = [];
  for (let index = first; index <= last; index++) {
    const row = rowAt(index);
    rows.push(html`<div role="row" key=${index} id=${`row-${index}`} aria-rowindex=${index + 2}
      aria-selected=${index === selected ? "true" : "false"} class=${classes("grid-row", index === selected && "selected", row?.damaged && "damaged")}
      style=${{ gridTemplateColumns: template }} onClick=${(event) => isControl(event) || onSelect(index)} onDblClick=${(event) => isControl(event) || onOpen(row, index)}>
      ${columns.map((column) => html`<span role="gridcell" class=${classes("cell", column.number && "number")}>
        ${row ? column.cell(row, index) : html`<span class="placeholder" aria-hidden="true"></span>`}</span>`)}
    </div>`);
  }
  return html`<div class="grid" role="grid" tabindex="0" ref=${root} aria-label=${label} aria-rowcount=${total + 1}
    aria-colcount=${columns.length} aria-activedescendant=${total && selected >= first && selected <= last ? `row-${selected}` : null}
    onScroll=${onScroll} onKeyDown=${onKeyDown}>
    <div class="grid-head" role="row" aria-rowindex="1" ref=${head} style=${{ gridTemplateColumns: template, minWidth: `${width}px` }}>
      ${columns.map((column) => html`<span role="columnheader" class=${classes("cell", column.number && "number", column.sort && "sortable")}
        aria-sort=${sortState(column, sort)} onClick=${() => column.sort && onSort(column.sort)}>${column.label}${arrow(column, sort)}</span>`)}
    </div>
    <div class="grid-spacer" style=${{ height: `${spacerHeight(total)}px`, minWidth: `${width}px` }}>
      <div class="grid-view" style=${{ top: `${ROW_PX + 2}px` }}>${rows}</div>
    </div>
    ${total === 0 && html`<p class="empty" role="row"><span role="gridcell">${t("No rows match.")}</span></p>`}
  </div>`;
}

const isControl = (event) => event.target.closest("button, a"); // It does something itself.
const sortState = (column, sort) =>
  !column.sort ? null : sort === column.sort ? "ascending" : sort === `-${column.sort}` ? "descending" : "none";
const arrow = (column, sort) => ({ ascending: " ↑", descending: " ↓" })[sortState(column, sort)] || "";
