// Method 2 of the SWE Agent's document: the token in the query, as it stands there but for address and token.

import { io } from "socket.io-client";

const socket = io(`http://localhost:${process.env.PORT}/ws?token=${process.env.TOKEN}`);

socket.on("connection_established", (event) => console.log("Connected:", event.data.user_id));
