// What the page shows, as rows, and the vocabulary of figures.

const DATA = JSON.parse($("data").textContent);
const MOTIONS = rowsOf(DATA.motions), ATTEMPTS = rowsOf(DATA.attempts);
const COLUMN_FIGURES = DATA.figures.filter((figure) => figure.column);
const LIMITS = new Map(DATA.figures.filter((figure) => figure.limit).map((figure) => [figure.limit, figure]));

MOTIONS.forEach((row, index) => Object.assign(row, { index, attempts: [] }));
for (const attempt of ATTEMPTS) MOTIONS[attempt.motion].attempts.push(attempt);
for (const row of MOTIONS) {
  const last = row.attempts.filter((attempt) => attempt.outcome !== "lost").pop();
  for (const { name } of DATA.figures) row[name] = last ? last[name] : null;
  row.words = [row.name, row.reason, row.path, ...row.attempts.map((attempt) => attempt.reason)].join("\n").toLowerCase();
}

const described = (figure) => [figure.meaning, figure.unit].filter(Boolean).join(", ");

const WORDS = {
  recorded: "recorded", rejected: "rejected", invalid: "invalid", crashed: "crashed", unfinished: "unfinished",
  failed: "failed", lost: "lost", unknown: "not told",
};
const word = (key) => WORDS[key] || (LIMITS.has(key) ? LIMITS.get(key).title : key);
