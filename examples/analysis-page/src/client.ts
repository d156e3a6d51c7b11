import { createClient, type Client } from "idemp/fetch";
import type { Account } from "./account.js";
import { note } from "./journal.js";

/** The client that keeps this account's keys: one for the life of the page. */
export function clientOf({ user }: Account): Client {
  let client = clients.get(user);
  if (client === undefined) {
    client = createClient({
      user,
      onEvent(event) {
        if (event.type === "sent" && event.again !== undefined) {
          const seconds = Math.max(1, Math.round(event.again / 1000));
          const why = event.status === undefined ? "The network is away" : "The server does not answer";
          note(`${why}: trying again in ${seconds} s.`);
        }
      },
    });
    clients.set(user, client);
  }
  return client;
}

const clients = new Map<string, Client>();
