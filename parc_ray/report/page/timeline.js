// Timeline of all env slots, one drawing per session.

function timelineChart(session, index, sessions, launches, use, attempts, motions, open) {
  const own = launches.map((launch, k) => ({ ...launch, k })).filter((launch) => launch.session === index);
  const title = `${sessions.length > 1 ? `Run ${index + 1} of ${sessions.length}, ` : ""}${new Date(session.began * 1000).toLocaleString()}`;
  const how = session.exit_code === null ? "did not end" : `exit code ${session.exit_code}`;
  const spent = (name) => sum(own.map((launch) => use[launch.k][name]));
  const slots = spent("useful") + spent("wasted") + spent("cut") + spent("idle");
  const deaths = own.filter((launch) => launch.death).length;
  const caption = `${duration(session.seconds)}, ${count(own.length, "shard")}, ${count(deaths, "actor")} lost, ${how}` + (slots
    ? `. Of the time of all slots ${percent(spent("useful") / slots)} went into recordings, ${percent(spent("wasted") / slots)} into attempts that failed${spent("cut") ? `, ${percent(spent("cut") / slots)} into what was cut off` : ""}, ${percent(spent("idle") / slots)} were idle.` : ".");
  const figure = element("figure", { style: { marginBottom: "1rem" } },
    element("figcaption", {}, element("h3", {}, title), element("p", {}, caption)));
  if (!own.length) return figure;

  const lanes = [];
  for (const launch of own) {
    launch.lane = lanes.findIndex((end) => end <= launch.began + 1e-6);
    if (launch.lane < 0) launch.lane = lanes.push(0) - 1;
    lanes[launch.lane] = launch.ended;
  }
  const tall = lanes.map((_, lane) => Math.max(1, ...own.filter((l) => l.lane === lane).map((l) => l.envs || 1)));
  const slot = Math.min(9, Math.max(0.6, 460 / sum(tall)));
  const heights = tall.map((envs) => Math.max(12, envs * slot));
  const tops = heights.map((_, lane) => sum(heights.slice(0, lane)) + lane * 10 + 4);
  const launchOf = new Map(own.map((launch) => [launch.k, launch]));
  const done = attempts.filter((a) => launchOf.has(a.launch) && a.began !== null && a.ended !== null);
  // End of the last known attempt in each slot of an actor.
  const heard = new Map(own.map((launch) => [launch.k, []]));
  for (const { launch, env, ended } of done) heard.get(launch)[env || 0] = Math.max(ended, heard.get(launch)[env || 0] || 0);
  const left = 52, height = tops[tops.length - 1] + heights[heights.length - 1] + 26;
  const canvas = element("canvas", { role: "img", "aria-label": `Timeline. ${caption}` });
  const holder = element("div", {}, canvas);
  let boxes = [];

  drawnToWidth(holder, (width) => {
    const scale = Math.min(2, devicePixelRatio || 1);
    canvas.width = width * scale;
    canvas.height = height * scale;
    canvas.style.height = `${height}px`;
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    const x = (seconds) => left + (seconds / (session.seconds || 1)) * (width - left - 12);
    const paint = (tone, x0, y0, x1, y1) => { pen.fillStyle = color(tone); pen.fillRect(x0, y0, Math.max(0.7, x1 - x0), y1 - y0); };
    // On whole pixels, or a slot would get some of its neighbours' colours.
    const row = (launch, env) => {
      const high = Math.max(12, (launch.envs || 1) * slot) / (launch.envs || 1);
      const [y0, y1] = [env, env + 1].map((k) => Math.round((tops[launch.lane] + k * high) * scale) / scale);
      return [y0, Math.max(y1, y0 + 1 / scale)];
    };
    pen.font = "11.5px system-ui, sans-serif";
    pen.textBaseline = "middle";
    for (const launch of own) {
      const y0 = tops[launch.lane], y1 = y0 + (launch.envs ? Math.max(12, launch.envs * slot) : 12);
      const ready = launch.ready === null ? launch.ended : launch.ready;
      paint(TONE.STARTING, x(launch.began), y0, x(ready), y1);
      if (launch.ready !== null) paint(launch.cut ? TONE.CUT : TONE.IDLE, x(ready), y0, x(launch.ended), y1);
    }
    for (const [k, envs] of heard) {
      const launch = launchOf.get(k);
      if (!launch.cut) continue;
      envs.forEach((end, env) => {
        const [y0, y1] = row(launch, env);
        paint(TONE.IDLE, x(launch.ready), y0, x(end), y1);
      });
    }
    boxes = done.map((attempt) => {
      const [y0, y1] = row(launchOf.get(attempt.launch), attempt.env || 0);
      const tone = { [OUTCOME.RECORDED]: attempt.copies ? TONE.RECOVERED : TONE.RECORDED, [OUTCOME.LOST]: TONE.UNFINISHED }[attempt.outcome] || TONE.FAILED;
      paint(tone, x(attempt.began) + 0.25, y0, x(attempt.ended) - 0.25, y1 - (y1 - y0 > 3 ? 1 : 0));
      return [x(attempt.began), y0, x(attempt.ended), y1, attempt];
    });
    for (const launch of own) {
      if (!launch.death) continue;
      const y0 = tops[launch.lane];
      paint(TONE.REJECTED, x(launch.ended) - 1, y0 - 3, x(launch.ended) + 1.5, y0 + Math.max(12, (launch.envs || 1) * slot) + 3);
    }
    pen.fillStyle = color("soft");
    pen.textAlign = "right";
    lanes.forEach((_, lane) => pen.fillText(`actor ${lane}`, left - 7, tops[lane] + Math.min(10, heights[lane] / 2)));
    pen.textAlign = "center";
    for (const tick of ticks(session.seconds, Math.max(3, width / 110), false)) {
      pen.fillText(`${number(tick)} s`, x(tick), height - 8);
      pen.fillRect(x(tick), height - 21, 1, 4);
    }
  });

  const under = (event) => {
    const bounds = canvas.getBoundingClientRect();
    const [px, py] = [event.clientX - bounds.left, event.clientY - bounds.top];
    return boxes.find(([x0, y0, x1, y1]) => px >= x0 - 1 && px <= x1 + 1 && py >= y0 && py <= y1);
  };
  canvas.addEventListener("pointermove", (event) => {
    const box = under(event);
    if (!box) return tip.hide();
    const attempt = box[4];
    tip.show(event, `${motions[attempt.motion].name}\n${attemptName(attempt)} from ${fromFraction(attempt.start_fraction)}: ${word(attempt.outcome)}${attempt.reason ? ` (${attempt.reason})` : ""}\nenv ${attempt.env}, ${attempt.began.toFixed(1)} to ${attempt.ended.toFixed(1)} s`);
  });
  canvas.addEventListener("pointerleave", tip.hide);
  canvas.addEventListener("click", (event) => { const box = under(event); if (box) open(box[4].motion, true); });

  figure.append(
    legend([[TONE.RECORDED, "recorded"], ...(done.some((a) => a.copies) ? [[TONE.RECOVERED, "recovered, in one env of its population"]] : []), [TONE.FAILED, "failed or not accepted"], [TONE.IDLE, "idle"], [TONE.STARTING, "starting"],
      ...(own.some((launch) => launch.cut) ? [[TONE.CUT, "cut off, end unknown"]] : []),
      ...(deaths ? [[TONE.REJECTED, "actor lost"]] : []), ...(done.some((a) => a.outcome === OUTCOME.LOST) ? [[TONE.UNFINISHED, "recording lost later"]] : [])]),
    holder,
    numbersTable(["shard", "motions", "envs", "began, s", "ready, s", "ended, s", "attempts", "recorded, slot s", "failed, slot s", "cut off, slot s", "idle, slot s", "lost because"],
      own.map((launch) => [String(launch.shard), launch.motions, launch.envs ?? "–", launch.began, launch.ready ?? "never", launch.ended,
        use[launch.k].attempts, use[launch.k].useful, use[launch.k].wasted, use[launch.k].cut, use[launch.k].idle, launch.death || "–"])));
  return figure;
}
