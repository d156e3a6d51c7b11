import { ACCOUNTS, type Account } from "./account.js";
import { AnalysisCard } from "./AnalysisCard.js";
import { clientOf } from "./client.js";
import { note } from "./journal.js";
import { JournalCard } from "./JournalCard.js";
import { VideoCard } from "./VideoCard.js";
import { useVisit } from "./visit.js";

export function Page() {
  const [{ account, file }, go] = useVisit();

  async function signOut(account: Account) {
    await clientOf(account).forgetAll();
    note(`${account.name} signed out: this browser has forgotten what was started.`);
    go({ account: undefined, file });
  }

  return (
    <div className="page">
      <header>
        <div className="title">
          <h1>Video analysis</h1>
          <p>One file, one analysis: after a reload, in a second tab, after a crash.</p>
        </div>
        {account && (
          <div className="account">
            <Person account={account} />
            <button className="quiet" onClick={() => void signOut(account)}>
              Sign out
            </button>
          </div>
        )}
      </header>
      <main>
        {account ? (
          <div className="work">
            <VideoCard file={file} choose={(file) => go({ account, file })} />
            {file && <AnalysisCard key={`${account.user} ${file}`} account={account} file={file} />}
          </div>
        ) : (
          <SignIn enter={(account) => go({ account, file })} />
        )}
        <JournalCard />
      </main>
    </div>
  );
}

function Person({ account }: { account: Account }) {
  return (
    <>
      <span className="avatar" aria-hidden="true">
        {account.name[0]}
      </span>
      <span>
        <strong>{account.name}</strong>
        <small>{account.company}</small>
      </span>
    </>
  );
}

function SignIn({ enter }: { enter(account: Account): void }) {
  return (
    <section className="card" aria-labelledby="sign-in">
      <h2 id="sign-in">Who is here?</h2>
      <p>Two people share this browser. What one starts, the other does not see.</p>
      <div className="people">
        {ACCOUNTS.map((account) => (
          <button key={account.user} onClick={() => enter(account)}>
            <Person account={account} />
          </button>
        ))}
      </div>
    </section>
  );
}
