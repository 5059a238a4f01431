// The steps of artillery.yml that are code.
import { tellCounts } from './counts.mjs';

const users = [];
const sum = () => users.reduce((all, user) => all + user.__receivedMessageCount, 0);
tellCounts(() => users.length, sum);

/** Runs when a virtual user is connected. */
export async function connected(context) {
  users.push(context);
}
