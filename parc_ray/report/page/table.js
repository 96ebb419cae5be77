// The table of all motions: filtered, sorted, a page at a time.

const PAGE = 20;

const COLUMNS = [
  { key: "name", title: "Motion", kind: "name" },
  { key: "state", title: "State", kind: "state" },
  { key: "strip", title: "Attempts", kind: "strip", sort: (row) => row.attempts.length },
  { key: "why", title: "Why", kind: "why", hint: "Why there is no recording" },
  { key: "seconds", title: "Length", unit: "s", places: 1, hint: "Length of the motion, s" },
  { key: "terrain_range", title: "Terrain", unit: "m", places: 2, hint: "Highest above lowest cell, m" },
  ...COLUMN_METRICS.map((metric) => ({
    key: metric.name, title: metric.column, unit: metric.unit, places: metric.decimals, hint: `Last attempt: ${described(metric)}`,
  })),
];

const toneOf = (row) => ({ [WAY.RECOVERED]: TONE.RECOVERED, [WAY.LATER]: TONE.LATER }[row.how] || row.state);
const recordedTone = (attempt) => (attempt.copies ? TONE.RECOVERED : attempt.start_fraction ? TONE.LATER : TONE.RECORDED);
const attemptTone = (attempt) => ({ [OUTCOME.RECORDED]: recordedTone(attempt), [OUTCOME.REJECTED]: TONE.REJECTED, [OUTCOME.LOST]: TONE.UNFINISHED }[attempt.outcome] || TONE.FAILED);
const stateText = (row) => ({ [WAY.RECOVERED]: WAY.RECOVERED, [WAY.LATER]: `recorded from ${fromFraction(row.start_fraction || 0)}` }[row.how] || word(row.state));
// "attempt 2", or "population of 16".
const attemptName = (attempt) => (attempt.copies ? `population of ${attempt.copies}` : `attempt ${attempt.number + 1}`);
const shortState = (row) => stateText(row).replace("recorded from", "from");
const endings = (attempt) => attempt.criteria.map((criterion) => (attempt.body ? `${criterion} (${attempt.body})` : criterion));

// Where in the motion each attempt began and ended.
function strip(row, width = 72, height = 5) {
  const svg = drawn("svg", { width, height: Math.max(1, row.attempts.length) * height, "aria-hidden": "true" });
  if (!row.seconds) return svg;
  row.attempts.forEach((attempt, k) => {
    const x = (time) => Math.min(1, time / row.seconds) * width;
    svg.append(
      drawn("rect", { x: 0, width, y: k * height, height: height - 1, fill: "var(--idle)" }),
      drawn("rect", { x: x(attempt.start_time), width: Math.max(1.5, x(attempt.start_time + attempt.seconds) - x(attempt.start_time)), y: k * height, height: height - 1, fill: `var(--${attemptTone(attempt)})` }));
  });
  return svg;
}

class MotionTable {
  constructor(rows, states, onOpen) {
    this.rows = rows;
    this.onOpen = onOpen;
    this.filter = { text: "", states: new Set(), why: "", ended: "" };
    this.order = { key: null, down: false };
    this.page = 0;
    this.selected = null;
    this.build(states);
    this.update();
  }

  build(states) {
    const change = (values) => { Object.assign(this.filter, values); this.page = 0; this.update(); };
    this.search = element("input", { type: "search", id: "search", placeholder: "Search ( / )", "aria-label": "Name or reason", oninput: () => change({ text: this.search.value }) });
    this.chips = states.filter(([, n]) => n).map(([state, n]) => element("button", {
      type: "button", class: "chip", "aria-pressed": "false", "data-state": state, tone: state,
      onclick: () => {
        const chosen = new Set(this.filter.states);
        if (!chosen.delete(state)) chosen.add(state);
        change({ states: chosen });
      },
    }, dot(state), `${word(state)} ${number(n)}`));
    const select = (name, label, values) => element("select", { "aria-label": label, onchange: (event) => change({ [name]: event.target.value }) },
      element("option", { value: "" }, label), [...values].sort().map((value) => element("option", { value }, value)));
    this.why = select("why", "Why: any", new Set(this.rows.map((row) => row.why).filter(Boolean)));
    this.ended = select("ended", "Ended by: any", new Set(this.rows.flatMap((row) => row.attempts.flatMap(endings))));
    this.clear = element("button", { type: "button", onclick: () => this.show({}) }, "Clear");
    $("filters").append(this.search, ...this.chips, this.why, this.ended, this.clear);
    this.heads = COLUMNS.map((column) => element("th", { scope: "col", class: column.kind || `number ${column.key}` },
      element("button", { type: "button", title: column.hint || column.title, onclick: () => this.sortBy(column.key) },
        column.title, column.unit ? element("small", {}, column.unit) : null)));
    this.body = element("tbody", { onkeydown: (event) => this.key(event) });
    $("table").append(element("thead", {}, element("tr", {}, this.heads)), this.body);
  }

  // Sets the filters to these, and no others.
  show(filter) {
    this.filter = { text: "", states: new Set(), why: "", ended: "", ...filter };
    this.page = 0;
    this.update();
  }

  sortBy(key) {
    this.order = { key, down: this.order.key === key && !this.order.down };
    this.page = 0;
    this.update();
  }

  matches(row) {
    const { text, states, why, ended } = this.filter;
    const wanted = text.trim().toLowerCase();
    return (!states.size || states.has(row.state)) && (!why || row.why === why)
      && (!ended || row.attempts.some((attempt) => endings(attempt).includes(ended)))
      && (!wanted || row.words.includes(wanted));
  }

  sorted(rows) {
    const { key, down } = this.order;
    if (!key) return rows;
    const column = COLUMNS.find((candidate) => candidate.key === key);
    const value = column.sort || (key === "state" ? stateText : (row) => row[key]);
    const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);
    return [...rows].sort((first, second) => {
      const [a, b] = [value(first), value(second)];
      const [noA, noB] = [a === null || a === undefined || a === "", b === null || b === undefined || b === ""];
      return noA || noB ? noA - noB : (down ? -1 : 1) * compare(a, b);
    });
  }

  update() {
    const { text, states, why, ended } = this.filter;
    this.found = this.sorted(this.rows.filter((row) => this.matches(row)));
    if (this.search.value !== text) this.search.value = text;
    for (const chip of this.chips) chip.setAttribute("aria-pressed", String(states.has(chip.dataset.state)));
    this.why.value = why;
    this.ended.value = ended;
    this.clear.disabled = !(text || states.size || why || ended);
    COLUMNS.forEach((column, k) => {
      const head = this.heads[k];
      if (column.key === this.order.key) head.setAttribute("aria-sort", this.order.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    const pages = Math.max(1, Math.ceil(this.found.length / PAGE));
    this.page = Math.min(this.page, pages - 1);
    const first = this.page * PAGE, shown = this.found.slice(first, first + PAGE);
    this.body.replaceChildren(...shown.map((row) => this.line(row)));
    if (!shown.length) this.body.append(element("tr", {}, element("td", { colspan: COLUMNS.length, class: "soft" }, "No motion matches.")));
    else if (!shown.some((row) => row === this.selected)) this.body.firstChild.tabIndex = 0;
    const turn = (by, label, possible) => element("button", { type: "button", disabled: !possible, onclick: () => { this.page += by; this.update(); } }, label);
    $("pages").replaceChildren(
      element("span", { id: "found" }, this.found.length ? `${number(first + 1)}–${number(first + shown.length)} of ${count(this.found.length, "motion")}` : "0 motions",
        this.found.length < this.rows.length ? `, filtered from ${number(this.rows.length)}` : ""),
      element("span", { class: "grow" }), turn(-1, "Previous", this.page > 0), turn(1, "Next", this.page < pages - 1));
  }

  line(row) {
    const chosen = row === this.selected, short = (reason) => reason.replace(/^not tracked: /, "");
    return element("tr", { tabindex: chosen ? 0 : -1, "aria-selected": String(chosen), "data-motion": row.index, onclick: () => this.choose(row) },
      COLUMNS.map((column) => {
        if (column.kind === "name") return element("td", { class: "name", title: row.name }, shortened(row.name, 22));
        if (column.kind === "state") return element("td", {}, dot(toneOf(row)), shortState(row), element("small", { class: "why", title: row.reason }, short(row.why)));
        if (column.kind === "strip") return element("td", { title: count(row.attempts.length, "attempt") }, strip(row));
        if (column.kind === "why") return element("td", { class: "why", title: row.reason }, short(row.reason));
        return element("td", { class: `number ${column.key}` }, fixed(row[column.key], column.places));
      }));
  }

  choose(row, focus = true) {
    const place = this.found.indexOf(row);
    if (place < 0) this.show({});
    this.selected = row;
    this.page = Math.floor(Math.max(0, place < 0 ? this.found.indexOf(row) : place) / PAGE);
    this.update();
    if (focus) {
      const line = this.body.querySelector('[aria-selected="true"]');
      if (line) line.focus({ preventScroll: true });
    }
    this.onOpen(row, focus);
  }

  key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: PAGE, PageUp: -PAGE, Home: -Infinity, End: Infinity }[event.key];
    const index = Number(event.target.dataset.motion);
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      if (this.selected && this.selected.index === index) $("play")?.click();
      else this.choose(this.rows[index]);
    } else if (step) {
      event.preventDefault();
      const from = this.found.indexOf(this.rows[index]);
      this.choose(this.found[Math.max(0, Math.min(this.found.length - 1, from + step))]);
    }
  }
}
