// The page's data as rows, and its vocabulary: states, outcomes, colours, metrics.

const DATA = JSON.parse($("data").textContent);
// {RECORDED: "recorded", ...}: the values of Python's enums, and the names of colours in page.css.
const constants = (values) => Object.freeze(Object.fromEntries(values.map((value) => [value.toUpperCase(), value])));
const STATE = constants(DATA.states), OUTCOME = constants(DATA.outcomes), WAY = Object.freeze(DATA.ways);
const TONE = constants([...DATA.states, "recovered", "later", "retried", "failed", "idle", "starting", "cut"]);

const MOTIONS = rowsOf(DATA.motions), ATTEMPTS = rowsOf(DATA.attempts);
const COLUMN_METRICS = DATA.metrics.filter((metric) => metric.column);
const LIMITS = new Map(DATA.metrics.filter((metric) => metric.limit).map((metric) => [metric.limit, metric]));

MOTIONS.forEach((row, index) => Object.assign(row, { index, attempts: [] }));
for (const attempt of ATTEMPTS) MOTIONS[attempt.motion].attempts.push(attempt);
for (const row of MOTIONS) {
  const counts = (attempt) => (row.copies ? attempt.copies && attempt.outcome === OUTCOME.RECORDED : !attempt.copies && attempt.outcome !== OUTCOME.LOST);
  const last = row.attempts.filter(counts).pop();
  for (const { name } of DATA.metrics) row[name] = last ? last[name] : null;
  row.words = [row.name, row.reason, row.path, ...row.attempts.map((attempt) => attempt.reason)].join("\n").toLowerCase();
}

const described = (metric) => [metric.meaning, metric.unit].filter(Boolean).join(", ");

// A state or an outcome is its own name; a limit has the title of its metric.
const word = (key) => (LIMITS.has(key) ? LIMITS.get(key).title : key);
