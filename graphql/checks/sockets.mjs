// What a socket refuses, by graphql-ws's own client. Prints the codes. Argument: the server.
import { createClient } from "graphql-ws";
import { WebSocket } from "ws";

const [, , url] = process.argv;
const client = createClient({
  url: url.replace("http", "ws") + "/graphql",
  webSocketImpl: WebSocket,
  retryAttempts: 0,
  lazy: false,
});

/** The first answer to a document: its data, or the code of its error. */
const first = (query) =>
  new Promise((resolve) => {
    const errors = (found) => resolve(found[0].extensions?.code ?? found[0].message);
    client.subscribe({ query }, {
      next: (message) => (message.errors ? errors(message.errors) : resolve(message.data)),
      error: (found) => (Array.isArray(found) ? errors(found) : resolve(String(found.reason ?? found))),
      complete: () => resolve("complete"),
    });
  });

const answers = {
  query: await first("{ __typename }"),
  // As HTTP answers it: in the order of the query, whatever was resolved first.
  ordered: Object.keys(await first("{ c: entities(first: 1) { totalCount } b: __typename a: status { updatedAt } }")).join(""),
  mutation: await first("mutation { x }"),
  unknown: await first("subscription { secrets { a } }"),
  future: await first('subscription { ratingActions(afterPosition: "999999999") { position } }'),
  replay: await first('subscription { ratingActions(afterPosition: "0") { position isReplay } }'),
};
// The replay stays open: nine more fill the socket.
const held = Array.from({ length: 9 }, () => first("subscription { slashings { position } }"));
answers.eleventh = await first("subscription { news { position } }");
console.log(JSON.stringify(answers));
void held;
process.exit(0);
