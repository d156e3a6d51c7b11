import { useEffect, useRef } from "react";
import { useJournal } from "./journal.js";

export function JournalCard() {
  const entries = useJournal();
  const list = useRef<HTMLDivElement>(null);
  useEffect(() => {
    list.current?.scrollTo({ top: list.current.scrollHeight });
  }, [entries]);
  return (
    <section className="card journal" aria-labelledby="journal">
      <h2 id="journal">What happened in this tab</h2>
      {entries.length === 0 && <p className="hint">Nothing yet.</p>}
      <div className="entries" ref={list} role="log" aria-live="polite" aria-labelledby="journal" tabIndex={0}>
        <ol>
          {entries.map(({ number, at, words }) => (
            <li key={number}>
              <time dateTime={at.toISOString()}>{at.toLocaleTimeString("en-GB")}</time>
              <span>{words}</span>
            </li>
          ))}
        </ol>
      </div>
    </section>
  );
}
