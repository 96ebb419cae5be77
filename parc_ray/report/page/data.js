// What the page shows, as rows, and the vocabulary of metrics.

const DATA = JSON.parse($("data").textContent);
const MOTIONS = rowsOf(DATA.motions), ATTEMPTS = rowsOf(DATA.attempts);
const COLUMN_METRICS = DATA.metrics.filter((metric) => metric.column);
const LIMITS = new Map(DATA.metrics.filter((metric) => metric.limit).map((metric) => [metric.limit, metric]));

MOTIONS.forEach((row, index) => Object.assign(row, { index, attempts: [] }));
for (const attempt of ATTEMPTS) MOTIONS[attempt.motion].attempts.push(attempt);
for (const row of MOTIONS) {
  const last = row.attempts.filter((attempt) => attempt.outcome !== "lost").pop();
  for (const { name } of DATA.metrics) row[name] = last ? last[name] : null;
  row.words = [row.name, row.reason, row.path, ...row.attempts.map((attempt) => attempt.reason)].join("\n").toLowerCase();
}

const described = (metric) => [metric.meaning, metric.unit].filter(Boolean).join(", ");

const WORDS = {
  recorded: "recorded", rejected: "rejected", invalid: "invalid", crashed: "crashed", unfinished: "unfinished",
  failed: "failed", lost: "lost", unknown: "not told",
};
const word = (key) => WORDS[key] || (LIMITS.has(key) ? LIMITS.get(key).title : key);
