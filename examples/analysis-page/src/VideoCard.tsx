/** For whom has no video at hand. */
const SAMPLES = ["dawn.mp4", "harbour-cut-3.mov", "interview final.mp4"];

export function VideoCard({ file, choose }: { file: string | undefined; choose(file: string): void }) {
  return (
    <section className="card" aria-labelledby="video">
      <h2 id="video">Video</h2>
      <div className="choice">
        <label className="file">
          <input
            type="file"
            accept="video/*"
            onChange={({ target }) => {
              const chosen = target.files?.[0];
              if (chosen) choose(chosen.name);
            }}
          />
          <span>Choose a file…</span>
        </label>
        <output className="chosen" aria-label="Chosen video">
          {file ?? "nothing chosen yet"}
        </output>
      </div>
      <fieldset className="samples">
        <legend>Or take one of these names:</legend>
        {SAMPLES.map((name) => (
          <label key={name}>
            <input type="radio" name="sample" checked={name === file} onChange={() => choose(name)} />
            <span>{name}</span>
          </label>
        ))}
      </fieldset>
      <p className="hint">Only the name is sent. The video stays where it is.</p>
    </section>
  );
}
