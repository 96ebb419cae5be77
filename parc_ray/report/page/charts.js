// Bars: the funnel, histograms, shares.

const HEIGHT = 132;

function ticks(top, wanted, whole) {
  if (!(top > 0)) return [0];
  const power = 10 ** Math.floor(Math.log10(top / wanted));
  let step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => top / candidate <= wanted);
  if (whole) step = Math.max(1, Math.round(step));
  return Array.from({ length: Math.floor(top / step + 1e-9) + 1 }, (_, k) => Math.round(k * step * 1e9) / 1e9);
}

function binLabel(histogram, k) {
  const [low, high] = [histogram.edges[k], histogram.edges[k + 1]];
  const last = k === histogram.edges.length - 2;
  if (last && histogram.beyond) return `${withUnit(low, histogram.unit)} and more`;
  return low === high ? withUnit(low, histogram.unit) : `${number(low)} to ${withUnit(high, histogram.unit)}`;
}

// One row of bars over the bins of a histogram; layers: [{counts, tone, label}] are stacked.
function barRow(histogram, layers, { width, height, highest, label, y0 = 0, axis = true }) {
  const { edges } = histogram;
  const bins = edges.length - 1;
  const left = 34, right = 8;
  const x = (value) => left + ((value - edges[0]) / (edges[bins] - edges[0] || 1)) * (width - left - right);
  const y = (value) => y0 + height - (value / (highest || 1)) * (height - 14);
  const marks = ticks(highest, 3, true).map((value) => [
    drawn("line", { class: value ? "grid" : "axis", x1: left, x2: width - right, y1: y(value), y2: y(value) }),
    drawn("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, number(value)),
  ]);
  const bars = [];
  for (let k = 0; k < bins; k++) {
    let below = 0;
    const [x0, x1] = bins === 1 ? [left + 2, width - right - 2] : [x(edges[k]), x(edges[k + 1])];
    for (const layer of layers) {
      const value = layer.counts[k];
      if (!value) continue;
      const top = y(below + value);
      bars.push(drawn("rect", {
        x: x0 + 0.75, width: Math.max(1, x1 - x0 - 1.5), y: top, height: y(below) - top, fill: `var(--${layer.tone})`,
      }));
      below += value;
    }
    const said = layers.filter((layer) => layer.counts[k]).map((layer) => `${number(layer.counts[k])} ${layer.label}`);
    bars.push(drawn("rect", {
      class: "hit", x: x0, width: x1 - x0, y: y0, height,
      onpointermove: (event) => tip.show(event, `${binLabel(histogram, k)}\n${said.join(", ") || "none"}`),
      onpointerleave: tip.hide,
    }));
  }
  const under = axis ? ticks(edges[bins] - edges[0], Math.max(3, Math.floor(width / 75)), false).map((value) => {
    const at = edges[0] + value;
    const end = histogram.beyond && Math.abs(at - edges[bins]) < 1e-9;
    return drawn("text", { x: x(at), y: y0 + height + 15, "text-anchor": "middle" }, (end ? "≥ " : "") + (histogram.percent ? number(at * 100) : number(at)));
  }) : [];
  const limit = histogram.limit === null || histogram.limit === undefined || histogram.limit > edges[bins] ? [] : [
    drawn("line", { class: "limit", x1: x(histogram.limit), x2: x(histogram.limit), y1: y0 + 2, y2: y0 + height }),
  ];
  return drawn("g", {}, marks, bars, limit, under, label ? drawn("text", { class: "strong", x: width - right, y: y0 + 12, "text-anchor": "end" }, label) : null);
}

// rows: [{label, layers}], each with a baseline and a scale of its own.
function histogramChart(histogram, { title, caption, rows, axisLabel }) {
  const names = rows.flatMap((row) => row.layers.map((layer) => layer.label));
  const described = `${title}. ${caption}`;
  const holder = element("div", {});
  const figure = element("figure", {},
    element("figcaption", {}, element("h3", {}, title), element("p", {}, caption)),
    holder,
    numbersTable([axisLabel, ...names], histogram.edges.slice(1).map((_, k) =>
      [binLabel(histogram, k), ...rows.flatMap((row) => row.layers.map((layer) => layer.counts[k]))])));
  const bins = histogram.edges.length - 1;
  const highest = rows.map((row) =>
    Math.max(1, ...Array.from({ length: bins }, (_, k) => sum(row.layers.map((layer) => layer.counts[k])))));
  const height = rows.length > 1 ? 92 : HEIGHT;
  drawnToWidth(holder, (width) => {
    const total = rows.length * (height + 8) + 36;
    const svg = drawn("svg", { viewBox: `0 0 ${width} ${total}`, role: "img", "aria-label": described, height: total });
    rows.forEach((row, k) => svg.append(barRow(histogram, row.layers, {
      width, height, highest: highest[k], label: row.label, y0: k * (height + 8), axis: k === rows.length - 1,
    })));
    svg.append(drawn("text", { x: (width + 26) / 2, y: total - 2, "text-anchor": "middle" }, axisLabel));
    holder.replaceChildren(svg);
  });
  return figure;
}

// Share of motions recorded, by bins of a value.
function successChart(bins, { title, unit, axisLabel }) {
  const holder = element("div", {});
  const total = (bin) => bin.recorded_whole + bin.recorded_later + bin.not_recorded;
  const range = (bin) => (bin.low === bin.high ? withUnit(bin.low, unit) : `${number(bin.low)} to ${withUnit(bin.high, unit)}`);
  const caption = `Share of the ${number(sum(bins.map(total)))} motions that were dealt with; their number is under each bar.`;
  drawnToWidth(holder, (width) => {
    const left = 48, right = 14, height = HEIGHT + 22, all = height + 52;
    const step = Math.min(120, (width - left - right) / Math.max(1, bins.length));
    const y = (share) => 8 + (height - 8) * (1 - share);
    const svg = drawn("svg", { viewBox: `0 0 ${width} ${all}`, role: "img", "aria-label": `${title}. ${caption}`, height: all });
    for (const share of [0, 0.5, 1]) {
      svg.append(
        drawn("line", { class: share ? "grid" : "axis", x1: left, x2: width - right, y1: y(share), y2: y(share) }),
        drawn("text", { x: left - 6, y: y(share) + 4, "text-anchor": "end" }, `${share * 100} %`));
    }
    bins.forEach((bin, k) => {
      const x = left + k * step, n = total(bin);
      let below = 0;
      for (const [name, tone] of [["recorded_whole", TONE.RECORDED], ["recovered", TONE.RECOVERED], ["recorded_later", TONE.LATER], ["not_recorded", TONE.FAILED]]) {
        if (!bin[name]) continue;
        const share = bin[name] / n;
        svg.append(drawn("rect", { x: x + step * 0.12, width: step * 0.76, y: y(below + share), height: y(below) - y(below + share), fill: `var(--${tone})` }));
        below += share;
      }
      const edge = (value, at) => drawn("text", { x: at, y: height + 15, "text-anchor": "middle" }, number(value));
      svg.append(
        bin.low === bin.high ? edge(bin.low, x + step / 2) : edge(bin.low, x), bin.low !== bin.high && k === bins.length - 1 ? edge(bin.high, x + step) : "",
        drawn("text", { x: x + step / 2, y: height + 30, "text-anchor": "middle" }, step < 46 ? number(n) : `n = ${number(n)}`),
        drawn("rect", {
          class: "hit", x, width: step, y: 0, height: height + 32, onpointerleave: tip.hide,
          onpointermove: (event) => tip.show(event, `${range(bin)}: ${count(n, "motion")}\n` + (n
            ? `${percent(bin.recorded_whole / n)} at once, ${percent(bin.recovered / n)} recovered, ${percent(bin.recorded_later / n)} from a later start, ${percent(bin.not_recorded / n)} not` : "")),
        }));
    });
    svg.append(drawn("text", { x: (width + left) / 2, y: all - 4, "text-anchor": "middle" }, axisLabel));
    holder.replaceChildren(svg);
  });
  return element("figure", {}, element("figcaption", {}, element("h3", {}, title), element("p", {}, caption)),
    legend([[TONE.RECORDED, "recorded at once"], [TONE.RECOVERED, "recovered"], [TONE.LATER, "from a later start"], [TONE.FAILED, "not recorded"]]), holder,
    numbersTable([axisLabel, "at once", "recovered", "from a later start", "not"],
      bins.map((bin) => [range(bin), bin.recorded_whole, bin.recovered, bin.recorded_later, bin.not_recorded])));
}

// One row per start. Each begins below the "tried again" of the row above.
function funnel(figure, statistics) {
  const { counts, starts, recovery } = statistics;
  const recovered = counts.recorded_how[WAY.RECOVERED];
  const rows = [];
  const begun = starts.length ? starts[0].attempted : 0;
  const aside = counts.motions - begun;
  rows.push({ label: "dataset", total: counts.motions, at: 0, parts: [[TONE.RETRIED, begun, "attempted"], [TONE.INVALID, aside, "never attempted"]] });
  let at = 0;
  for (const start of starts) {
    rows.push({
      label: start.fraction === 0 ? "from the start" : `from ${fromFraction(start.fraction)}`, total: start.attempted, at,
      parts: [
        [start.fraction ? TONE.LATER : TONE.RECORDED, start.recorded, "recorded"], [TONE.RETRIED, start.retried, "tried again from a later start"],
        [TONE.REJECTED, start.ended, "rejected"], [TONE.UNFINISHED, start.open, "crashed or unfinished"],
      ],
    });
    at += start.recorded;
    if (start.fraction === 0 && recovery.length) {
      const tried = recovery[0].tried;
      rows.push({ label: "recovery", total: tried, at, parts: [[TONE.RECOVERED, recovered, "recovered"], [TONE.RETRIED, tried - recovered, "not recovered"]] });
      at += recovered;
    }
  }
  const told = (line) => line.parts.filter(([, value]) => value).map(([, value, what]) => `${number(value)} ${what}`).join(", ");
  const holder = element("div", {});
  drawnToWidth(holder, (width) => {
    const left = Math.max(96, Math.min(112, width * 0.26)), right = 62, row = 44, height = rows.length * row + 6;
    const x = (value) => left + (value / (counts.motions || 1)) * (width - left - right);
    const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": "Attempts from each start fraction, and their outcomes" });
    rows.forEach((line, k) => {
      const y = k * row + 4;
      svg.append(drawn("text", { class: "strong", x: 0, y: y + 20 }, line.label),
        drawn("text", { x: width, y: y + 20, "text-anchor": "end" }, number(line.total)));
      if (x(line.at) - left > 250) svg.append(drawn("text", { x: x(line.at) - 10, y: y + 20, "text-anchor": "end" }, told(line)));
      let from = line.at;
      for (const [tone, value, what] of line.parts) {
        if (!value) continue;
        const [x0, x1] = [x(from), x(from + value)];
        const text = number(value);
        svg.append(drawn("rect", {
          x: x0, y, width: Math.max(2, x1 - x0 - 1), height: 30, rx: 2, fill: `var(--${tone})`,
          onpointermove: (event) => tip.show(event, `${line.label}: ${text} of ${number(line.total)} ${what}`), onpointerleave: tip.hide,
        }));
        if (x1 - x0 > 9 * text.length + 6) {
          const over = { [TONE.RETRIED]: "off", [TONE.UNFINISHED]: "off", [TONE.LATER]: "dark" }[tone] || "on";
          svg.append(drawn("text", { class: over, x: x0 + 7, y: y + 20, "pointer-events": "none" }, text));
        }
        from += value;
      }
      if (k && line.total) svg.append(drawn("line", { class: "limit", x1: x(line.at), x2: x(line.at), y1: y - 14, y2: y }));
    });
    holder.replaceChildren(svg);
  });
  const open = starts.some((start) => start.open);
  figure.replaceChildren(
    element("figcaption", {}, element("h3", {}, "From the first attempt to the last"),
      element("p", {}, "Motions attempted from each start. Those tried again continue in the row below.")),
    legend([[TONE.RECORDED, "recorded at once"], ...(recovery.length ? [[TONE.RECOVERED, "recovered"]] : []), [TONE.LATER, "recorded from a later start"], [TONE.RETRIED, "tried again"], [TONE.REJECTED, "rejected"],
      ...(open ? [[TONE.UNFINISHED, "crashed or unfinished"]] : []), ...(aside ? [[TONE.INVALID, "never attempted"]] : [])]),
    holder,
    numbersTable(["start", "attempted", "recorded", "tried again", "rejected", "crashed or unfinished"],
      starts.map((start) => [fromFraction(start.fraction), start.attempted, start.recorded, start.retried, start.ended, start.open])));
}

// Horizontal bars with their numbers: [{label, value, tone, onclick}].
function barList(title, caption, items, note) {
  const holder = element("div", {});
  drawnToWidth(holder, (width) => {
    const left = Math.min(230, width * 0.52), row = 25, height = Math.max(1, items.length) * row;
    const top = Math.max(1, ...items.map((item) => item.value));
    const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": `${title}. ${caption}` });
    items.forEach((item, k) => {
      const length = Math.max(2, (item.value / top) * (width - left - 46));
      svg.append(
        drawn("text", { x: left - 8, y: k * row + 16, "text-anchor": "end" }, item.label),
        drawn("rect", { x: left, y: k * row + 4, width: length, height: row - 8, rx: 2, fill: `var(--${item.tone})` }),
        drawn("text", { class: "strong", x: left + length + 6, y: k * row + 16 }, number(item.value)));
    });
    holder.replaceChildren(svg);
  });
  return element("figure", {}, element("figcaption", {}, element("h3", {}, title), element("p", {}, caption)), holder,
    numbersTable(["", "attempts"], items.map((item) => [item.label, item.value])), note ? element("p", { class: "soft" }, note) : null);
}
