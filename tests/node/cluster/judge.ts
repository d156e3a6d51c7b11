/** The judgement: what a ledger shows, held against what is promised for one key. */
import type { Entry, Executed, Failing, Told } from "./ledger.js";

/** What was counted. `broken` has to be empty. */
export interface Verdict {
  readonly keys: number;
  readonly executions: number;
  /** Executions that nobody knows to have ended: their worker was killed, or lost its lease. */
  readonly lapses: number;
  readonly releases: number;
  /** Executions that began when nothing certain was left of their lease: their worker had stalled. */
  readonly late: number;
  readonly requests: number;
  readonly replays: number;
  readonly inProgress: number;
  readonly unavailable: number;
  readonly lost: number;
  /** Which keys broke which promise. */
  readonly broken: readonly string[];
}

/** Judges entries, in whatever order they came. */
export function judge(entries: readonly Entry[]): Verdict {
  const told = entries.filter((entry) => entry.type === "told");
  const stories = new Map<string, Entry[]>();
  for (const entry of entries) stories.set(entry.key, [...(stories.get(entry.key) ?? []), entry]);
  const broken: string[] = [];
  let lapses = 0;
  for (const [key, story] of stories) {
    const breaches: string[] = [];
    lapses += judgeKey(story, (what) => breaches.push(`${key}: ${what}`));
    broken.push(...breaches);
  }
  const status = (of: number) => told.filter((entry) => entry.status === of).length;
  return {
    keys: stories.size,
    executions: entries.filter(({ type }) => type === "executed").length,
    lapses,
    releases: entries.filter(({ type }) => type === "failing").length,
    late: entries.filter((entry) => entry.type === "executed" && entry.remaining === 0).length,
    requests: entries.filter(({ type }) => type === "told" || type === "lost").length,
    replays: told.filter(({ replayed }) => replayed).length,
    inProgress: status(409),
    unavailable: status(503),
    lost: entries.filter(({ type }) => type === "lost").length,
    broken,
  };
}

/** Hands back how many leases lapsed. */
function judgeKey(story: readonly Entry[], breach: (what: string) => void): number {
  const executions = story.filter((entry): entry is Executed => entry.type === "executed");
  const failures = story.filter((entry): entry is Failing => entry.type === "failing");
  const told = story.filter((entry): entry is Told => entry.type === "told");
  const done = told.filter(({ status }) => status === 201);
  executions.sort((one, other) => one.attempt - other.attempt);

  // S10: every lapse and every release makes one more attempt, under a number of its own.
  const attempts = new Set(executions.map(({ attempt }) => attempt));
  if (attempts.size < executions.length) breach("an attempt was executed twice");
  executions.forEach((execution, index) => {
    const next = executions[index + 1];
    if (next && BigInt(next.fence) <= BigInt(execution.fence)) breach("a fence did not grow");
    // S1: nobody else is granted the key while a lease certainly lives that was not released. Of one that
    // begins when nothing certain is left, since its worker stalled, nothing follows.
    if (execution.remaining === 0) return;
    const failed = failures.find(({ attempt }) => attempt === execution.attempt);
    const until = Math.min(execution.at + execution.remaining * 1e6, failed?.at ?? Infinity);
    const early = executions.some((other) => other.attempt > execution.attempt && other.at < until);
    if (early) breach(`attempt ${execution.attempt} lost a lease that lived`);
  });

  // S3 and S4: there is one outcome, of one execution that did not fail, and everybody gets it.
  const outcomes = new Set(done.map(({ body }) => body));
  if (outcomes.size > 1) breach(`${outcomes.size} outcomes were told`);
  const winners = executions.filter(({ outcome }) => done.some(({ body }) => body.includes(outcome)));
  if (outcomes.size > 0 && winners.length !== 1) breach("an outcome was told that no execution made");
  const first = Math.min(...done.map(({ at }) => at));
  // S7: once it was told it is kept: nothing executes again, and everybody who asks gets it.
  const won = Math.max(...winners.map(({ attempt }) => attempt));
  const stalled = ({ attempt, remaining }: Executed) => remaining === 0 && attempt < won;
  if (executions.some((execution) => execution.at > first && !stalled(execution))) {
    breach("it was executed after its outcome was told");
  }
  const refused = told.find(({ asked, status }) => asked > first && status !== 201);
  if (refused) breach(`an outcome that was told came back as ${refused.status}`);

  // What neither failed nor won has lapsed.
  const lapses = executions.length - failures.length - winners.length;
  if (lapses < 0) breach("an execution that failed has won");
  return lapses;
}
