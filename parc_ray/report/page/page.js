// Fills the sections of the page and connects them.

let previews = null;
function headline() {
  const { counts, starts: [first] } = DATA.statistics;
  const states = DATA.states.filter((state) => counts.states[state] || state !== STATE.UNFINISHED);
  const tile = (value, label, tone, sum) => element("div", { class: sum ? "tile sum" : "tile", "data-count": label },
    element("b", {}, number(value)), element("span", {}, tone ? dot(tone) : null, label));
  const tiles = [tile(counts.motions, "motions", null, true), element("span", { class: "sign", "aria-hidden": "true" }, "=")];
  states.forEach((state, k) => {
    if (k) tiles.push(element("span", { class: "sign", "aria-hidden": "true" }, "+"));
    tiles.push(tile(counts.states[state], word(state), state));
  });
  const ways = [[WAY.AT_ONCE, TONE.RECORDED], [WAY.RECOVERED, TONE.RECOVERED], [WAY.LATER, TONE.LATER]].filter(([way]) => counts.recorded_how[way]);
  const fact = (value, text) => element("span", {}, element("b", {}, value), ` ${text}`);
  $("counts").append(
    element("div", { class: "tiles" }, tiles),
    element("div", { class: "bar", "aria-hidden": "true" }, [
      ...ways.map(([way, tone]) => [tone, counts.recorded_how[way]]), ...states.filter((state) => state !== STATE.RECORDED && counts.states[state]).map((state) => [state, counts.states[state]]),
    ].map(([tone, share]) => element("i", { tone, style: { flexGrow: String(share), flexBasis: "0" } }))),
    ways.length ? legend(ways.map(([way, tone]) => [tone, `${number(counts.recorded_how[way])} ${way}`])) : null,
    element("div", { class: "facts" },
      fact(`${number(counts.recorded_seconds, 4)} s`, `of ${number(counts.dataset_seconds, 4)} s of motion recorded`),
      first && first.fraction === 0 ? fact(`${number(100 * first.recorded / first.attempted, 3)} %`, "success rate of first attempts") : null,
      fact(number(counts.attempts), counts.attempts === 1 ? "attempt" : "attempts"),
      counts.populations ? fact(number(counts.populations), counts.populations === 1 ? "population" : "populations") : null,
      fact(number(counts.control_steps), "control steps"),
      fact(duration(counts.wall_seconds), counts.deaths ? `at work, ${count(counts.deaths, "actor")} lost` : "at work"),
      counts.lost ? fact(number(counts.lost), counts.lost === 1 ? "recording lost and made again" : "recordings lost and made again") : null));
}

function endingList(table) {
  const list = DATA.statistics.endings;
  $("endings").append(element("h3", {}, "Without a recording"));
  if (!list.length) return $("endings").append(element("p", { class: "soft" }, "Every motion was recorded."));
  $("endings").append(element("ul", {}, list.map((ending) => element("li", {}, element("button", {
    type: "button", title: "Show these motions",
    onclick: () => { table.show({ states: new Set([ending.state]), why: ending.reason }); $("motions").scrollIntoView(); },
  }, element("b", {}, number(ending.motions)), element("span", {}, dot(ending.state), `${word(ending.state)} – ${ending.reason}`))))));
}

function attemptTable(row) {
  if (!row.attempts.length) return null;
  const metrics = COLUMN_METRICS;
  const span = (attempt) => `${attempt.start_time.toFixed(1)}–${(attempt.start_time + attempt.seconds).toFixed(1)} s`;
  return element("div", { class: "scroll attempts" }, element("table", {},
    element("thead", {}, element("tr", {}, metrics.map((metric) => element("th", { scope: "col", class: "number" }, metric.column, element("small", {}, metric.unit))))),
    row.attempts.map((attempt) => element("tbody", {},
      element("tr", {}, element("th", { scope: "rowgroup", colspan: metrics.length },
        element("b", {}, span(attempt)), dot(attemptTone(attempt)), attempt.copies ? `${attemptName(attempt)}, ` : "", word(attempt.outcome), attempt.reason ? `: ${attempt.reason}` : "")),
      element("tr", {}, metrics.map((metric) => element("td", { class: "number" }, fixed(attempt[metric.name], metric.decimals))))))));
}

function detailPanel() {
  const player = new Player(DATA.character || { bodies: [], geoms: [] });
  const title = element("h3", { id: "opened" }), verdict = element("p", { class: "verdict" }), attempts = element("div", {});
  $("detail").append(title, verdict, player.node, attempts);
  return (row, play) => {
    previews = previews || JSON.parse($("previews").textContent);
    title.textContent = row.name;
    const facts = [row.seconds === null ? null : `${fixed(row.seconds, 2)} s`, row.terrain_range === null ? null : `terrain range ${fixed(row.terrain_range, 2)} m`].filter(Boolean);
    verdict.replaceChildren(dot(toneOf(row)), element("b", {}, stateText(row)), [row.reason, ...facts].filter(Boolean).map((text) => ` · ${text}`).join(""));
    attempts.replaceChildren(...[attemptTable(row)].filter(Boolean));
    const missing = previews.missing[row.index] || (row.state === STATE.INVALID ? "An invalid file has nothing to show." : previews.reason || "There was no room for this preview in the page.");
    player.open(row, previews.motions[row.index] || null, missing, play);
    if (play) history.replaceState(null, "", `#motion=${row.index}`);
  };
}

function failureCharts() {
  const { failed_at: histograms, failures, success } = DATA.statistics;
  const charts = $("failure-charts");
  const criteria = Object.keys(histograms[0].series);
  const tone = (criterion) => `cause-${Math.max(0, criteria.indexOf(criterion)) % 6}`;
  const failed = sum(Object.values(histograms[0].series).flat());
  const layers = (histogram) => [{ label: "", layers: criteria.map((name) => ({ counts: histogram.series[name], tone: tone(name), label: word(name) })) }];
  if (failed) {
    charts.append(
      histogramChart({ ...histograms[0], percent: true }, { title: "Place in the motion", caption: `Where the ${count(failed, "failed attempt")} ended.`, rows: layers(histograms[0]), axisLabel: "% of the motion" }),
      histogramChart(histograms[1], { title: "Time since the attempt began", caption: "Failures at once hint at impossible starts.", rows: layers(histograms[1]), axisLabel: "s" }));
    for (const figure of [...charts.children]) figure.insertBefore(legend(criteria.map((name) => [tone(name), word(name)])), figure.children[1]);
  }
  if (failures.length) {
    charts.append(barList("What ended them", "Criterion and body of attempts that failed or were not accepted.", failures.slice(0, 14).map((failure) => ({
      label: failure.body ? `${word(failure.criterion)}: ${failure.body}` : word(failure.criterion), value: failure.attempts,
      tone: LIMITS.has(failure.criterion) ? TONE.REJECTED : tone(failure.criterion),
    })), failures.length > 14 ? `and ${failures.length - 14} rarer ones` : null));
  }
  for (const [name, title, unit, axisLabel] of [["seconds", "Success and length", "s", "length of the motion, s"], ["terrain_range", "Success and terrain", "m", "terrain range (highest above lowest cell), m"]]) {
    if (success[name].length) charts.append(successChart(success[name], { title, unit, axisLabel }));
  }
  if (!charts.children.length) charts.append(element("p", { class: "soft" }, "No attempt has ended yet."));
}

function qualityCharts() {
  $("quality-legend").append(
    element("p", { class: "soft" }, "Metrics of every attempt. Each row of bars has its own scale."),
    legend([[TONE.RECORDED, "recorded"], [TONE.RECOVERED, "recovered"], [TONE.FAILED, "failed"], [TONE.REJECTED, "tracked to the end, not accepted"]]));
  for (const histogram of DATA.statistics.quality) {
    const metric = DATA.metrics.find(({ name }) => name === histogram.name);
    const { series, medians, limit, missing } = histogram;
    const median = (name) => (medians[name] === null ? null : `${word(name)} ${withUnit(medians[name], histogram.unit)}`);
    const caption = [
      `Median ${[OUTCOME.RECORDED, WAY.RECOVERED, OUTCOME.FAILED].map(median).filter(Boolean).join(", ") || "–"}`,
      limit === null ? null : `limit ${withUnit(limit, histogram.unit)} (dashed)`, missing ? `${number(missing)} not finite` : null,
    ].filter(Boolean).join(" · ");
    $("quality-charts").append(histogramChart(histogram, {
      title: metric.title, caption, axisLabel: described(metric),
      rows: [
        { label: `${number(sum(series[OUTCOME.RECORDED]))} recorded`, layers: [{ counts: series[OUTCOME.RECORDED], tone: TONE.RECORDED, label: "recorded" }] },
        ...(sum(series[WAY.RECOVERED]) ? [{ label: `${number(sum(series[WAY.RECOVERED]))} recovered`, layers: [{ counts: series[WAY.RECOVERED], tone: TONE.RECOVERED, label: "recovered" }] }] : []),
        { label: `${number(sum(series[OUTCOME.FAILED]) + sum(series[OUTCOME.REJECTED]))} not`, layers: [{ counts: series[OUTCOME.FAILED], tone: TONE.FAILED, label: "failed" }, { counts: series[OUTCOME.REJECTED], tone: TONE.REJECTED, label: "not accepted" }] },
      ],
    }));
  }
}

function setupTables() {
  for (const [title, entries] of DATA.setup) {
    $("setup-tables").append(element("div", { class: "card" }, element("h3", {}, title),
      element("dl", {}, entries.flatMap(([key, value]) => [element("dt", {}, key), element("dd", {}, value)]))));
  }
}

function theme() {
  const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  try { chosen = localStorage.getItem("parc_ray theme"); } catch { /* pages from a file may have no storage */ }
  const apply = () => {
    root.dataset.theme = chosen || (dark.matches ? "dark" : "light");
    $("theme").textContent = root.dataset.theme === "dark" ? "Light" : "Dark";
    for (const draw of redrawn) draw();
  };
  $("theme").addEventListener("click", () => {
    chosen = root.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("parc_ray theme", chosen); } catch { /* as above */ }
    apply();
  });
  dark.addEventListener("change", apply);
  apply();
}

function main() {
  theme();
  document.title = `${DATA.title} – parc_ray report`;
  $("title").textContent = DATA.title;
  const last = DATA.sessions[DATA.sessions.length - 1];
  $("subtitle").textContent = [DATA.simulator, new Date(last.began * 1000).toLocaleString(), last.host, `parc_ray ${last.versions.parc_ray}`].filter(Boolean).join(" · ");
  if (DATA.diagnosis) $("diagnosis").append(element("h3", {}, "Why so few motions were recorded"), element("ul", {}, DATA.diagnosis.map((line) => element("li", {}, line))));
  $("diagnosis").hidden = !DATA.diagnosis;
  if (DATA.notes.length) $("notes").append(...DATA.notes.map((note) => element("li", {}, note)));
  $("notes").hidden = !DATA.notes.length;
  headline();
  funnel($("funnel"), DATA.statistics);
  const open = detailPanel();
  const states = DATA.states.map((state) => [state, DATA.statistics.counts.states[state]]);
  const table = new MotionTable(MOTIONS, states, open);
  endingList(table);
  failureCharts();
  qualityCharts();
  DATA.sessions.forEach((session, k) => $("timeline-charts").append(
    timelineChart(session, k, DATA.sessions, DATA.launches, DATA.statistics.use, ATTEMPTS, MOTIONS, (motion) => {
      table.choose(MOTIONS[motion]);
      $("motions").scrollIntoView();
    })));
  setupTables();
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/INPUT|SELECT|TEXTAREA/.test(document.activeElement.tagName)) {
      event.preventDefault();
      $("search").focus();
      $("motions").scrollIntoView();
    }
  });
  const asked = /^#motion=(\d+)$/.exec(location.hash);
  const first = (asked && MOTIONS[Number(asked[1])]) || MOTIONS.find((row) => row.state === STATE.RECORDED) || MOTIONS[0];
  if (first) table.choose(first, false);
  if (asked && first) $("motions").scrollIntoView();
  document.documentElement.dataset.ready = String(Math.round(performance.now()));
}

main();
