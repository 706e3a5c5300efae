package control

// catalogue holds what people far away are told, in English and in German. An
// English text stands where it is said and is the key here; formats have the
// same verbs in the same order. The name of a parameter comes before what is
// wrong with it.
var catalogue = [...][2]string{
	// How phrases are put together.
	{"%s %s", "%s %s"},
	{"%s%s", "%s%s"},
	{"%s, and %d more", "%s, und %d weitere"},
	{"of %s: %s", "von %s: %s"},

	// The request.
	{"nothing to set", "Es ist nichts zu setzen"},
	{"there is nothing to set but a code", "Außer einem Code ist nichts zu setzen"},
	{"%s is no type of parameter", "%s ist kein Typ von Parametern"},
	{"more nodes and parameters are named than this gateway takes in one request", "Es sind mehr Knoten und Parameter genannt, als dieses Gateway in einer Anfrage annimmt"},
	{"a node has no nodeId", "Ein Knoten hat keine nodeId"},
	{"a parameter has no name", "Ein Parameter hat keinen Namen"},
	{"parameter %s has no value", "Der Parameter %s hat keinen Wert"},
	{"the value is missing", "der Wert fehlt"},
	{"typed parameters and a form in one request have no order", "Einzelne Parameter und ein Formular in einer Anfrage haben keine Reihenfolge"},
	{"more than one form", "Es ist mehr als ein Formular"},
	{"a form to set something has the type submit", "Ein Formular, das etwas setzt, hat den Typ submit"},
	{"a field has no var", "Ein Feld hat kein var"},
	{"field %s is there twice", "Das Feld %s kommt zweimal vor"},
	{"is there twice", "kommt zweimal vor"},
	{"field %s has several values", "Das Feld %s hat mehrere Werte"},
	{"has several values", "hat mehrere Werte"},
	{"there is no form in it", "Es ist kein Formular darin"},
	{"this form has expired; ask for a new one", "Dieses Formular ist abgelaufen; fordern Sie ein neues an"},
	{"no such form is open", "Ein solches Formular ist nicht offen"},
	{"forms of several nodes are not merged here", "Formulare mehrerer Knoten werden hier nicht zusammengefasst"},

	// Nodes, parameters and rights.
	{"there is no node %s", "Es gibt keinen Knoten %s"},
	{"name the nodes: this gateway has several", "Nennen Sie die Knoten: Dieses Gateway hat mehrere"},
	{"name the nodes to set: this gateway has several", "Nennen Sie die Knoten, die gesetzt werden sollen: Dieses Gateway hat mehrere"},
	{"is no parameter of %s", "ist kein Parameter von %s"},
	{"may be set by you to %s only", "darf von Ihnen nur auf %s gesetzt werden"},
	{"no value", "keinen Wert"},
	{"what is no number", "das, was keine Zahl ist"},
	{"you may not set this", "Sie dürfen das nicht setzen"},
	{"you may not set anything here", "Sie dürfen hier nichts setzen"},
	{"you may not control this thing", "Sie dürfen dieses Gerät nicht steuern"},
	{"access could not be decided", "Es ließ sich nicht klären, ob Sie das dürfen"},
	{"the provisioning server does not answer", "Der Server, der über Rechte entscheidet, antwortet nicht"},

	// Values.
	{"is of type %s, not %s", "ist vom Typ %s, nicht %s"},
	{"must be from %s to %s", "muss im Bereich von %s bis %s liegen"},
	{"must be at least %s", "muss mindestens %s sein"},
	{"must be at most %s", "darf höchstens %s sein"},
	{"must be a multiple of %s counted from %s", "muss ein Vielfaches von %s sein, gezählt ab %s"},
	{"is longer than %d octets", "ist länger als %d Bytes"},
	{"must be one of %s", "muss eines davon sein: %s"},
	{"must match %s", "muss zu %s passen"},
	{"must be a colour RRGGBB in hexadecimal digits", "muss eine Farbe RRGGBB in hexadezimalen Ziffern sein"},
	{"must be a colour RRGGBBAA in hexadecimal digits", "muss eine Farbe RRGGBBAA in hexadezimalen Ziffern sein"},
	{"must be true or false", "muss true oder false sein"},
	{"must be a whole number of 32 bits", "muss eine ganze Zahl mit 32 Bit sein"},
	{"must be a whole number of 64 bits", "muss eine ganze Zahl mit 64 Bit sein"},
	{"must be a decimal number of at most 18 digits", "muss eine Dezimalzahl mit höchstens 18 Ziffern sein"},
	{"must be a date and time", "muss ein Datum mit Uhrzeit sein"},
	{"must be a date", "muss ein Datum sein"},
	{"must be a time of day", "muss eine Uhrzeit sein"},
	{"must be a duration such as PT30S", "muss eine Dauer wie PT30S sein"},
	{"cannot be set", "lässt sich nicht setzen"},

	// Rules of the output.
	{"it has to stay on for %d s more", "muss noch %d s eingeschaltet bleiben"},
	{"it has to stay off for %d s more", "muss noch %d s ausgeschaltet bleiben"},
	{"it was changed %d times within an hour; it can be changed again in %d s", "wurde innerhalb einer Stunde %d-mal geändert; wieder möglich in %d s"},
	{"the change is too large", "die Änderung ist zu groß"},
	{"it may change by %s per second; try %s at most now", "darf sich je Sekunde um %s ändern; jetzt geht höchstens eine Änderung um %s"},
	{"interlock: %s", "Verriegelung: %s"},
	{"interlock: %s is not known", "Verriegelung: %s ist nicht bekannt"},
	{"this must hold: %s", "es muss gelten: %s"},
	{"%s is active; only one of the group may be", "%s ist aktiv; aus der Gruppe darf es nur eines sein"},
	{"it is not known whether %s is active", "es ist nicht bekannt, ob %s aktiv ist"},
	{"%s is locked: %s", "%s ist gesperrt: %s"},

	// Somebody at the machine.
	{"it is held at the machine by %s", "wird an der Maschine bestimmt durch %s"},
	{"%s, until that is released", "%s, bis zur Freigabe"},
	{"%s, until %s (%d min more)", "%s, bis %s (noch %d min)"},
	{"it is not known yet whether %s holds it", "es ist noch nicht bekannt, ob er bestimmt wird durch %s"},
	{"it has to be made safe first (%s), which its device has not done yet", "muss erst in den sicheren Zustand (%s), was sein Gerät noch nicht getan hat"},
	{"it was given back at the machine", "er wurde an der Maschine freigegeben"},

	// The second step.
	{"Send the same again within %d s with the string parameter %s = %s", "Senden Sie dasselbe innerhalb von %d s noch einmal, mit dem String-Parameter %s = %s"},
	{"Have somebody else send the same again within %d s with the string parameter %s = %s", "Lassen Sie jemand anderen dasselbe innerhalb von %d s noch einmal senden, mit dem String-Parameter %s = %s"},
	{"Leave this out at first. The answer then names the code to confirm with.", "Lassen Sie das zunächst weg. Die Antwort nennt dann den Code zum Bestätigen."},
	{"somebody else has to confirm this", "Das muss jemand anderes bestätigen"},
	{"there is nothing to confirm any more; send the command without a code for a new one", "Es ist nichts mehr zu bestätigen; senden Sie den Befehl ohne Code, um einen neuen zu bekommen"},
	{"is not the code that was given", "ist nicht der genannte Code"},

	// The moment.
	{"the command is too old to be carried out; send it again if it is still wanted", "Der Befehl ist zu alt, um ausgeführt zu werden; senden Sie ihn noch einmal, wenn er noch gewünscht ist"},
	{"the command was delayed and the gateway's clock is not set", "Der Befehl kam verspätet, und die Uhr des Gateways ist nicht gestellt"},
	{"the command was delayed, and by how much cannot be read", "Der Befehl kam verspätet, und um wie viel, ist nicht lesbar"},
	{"earlier commands for this output did not end in time", "Frühere Befehle für diesen Ausgang sind nicht rechtzeitig fertig geworden"},
	{"too many commands are waiting", "Es warten schon zu viele Befehle"},
	{"the gateway is not ready to act", "Das Gateway ist noch nicht bereit"},
	{"the gateway is stopping", "Das Gateway wird gerade beendet"},
	{"the configuration has just changed", "Die Konfiguration hat sich gerade geändert"},
	{"the output has just been moved into its safe state, or was taken over at the machine", "Der Ausgang ist gerade in den sicheren Zustand gebracht oder an der Maschine übernommen worden"},
	{"the command could not be recorded", "Der Befehl konnte nicht aufgezeichnet werden"},

	// Devices.
	{"the device is not set up", "das Gerät ist nicht eingerichtet"},
	{"the device cannot be set", "das Gerät lässt sich nicht setzen"},
	{"device did not answer in time", "das Gerät hat nicht rechtzeitig geantwortet"},
	{"device is not there", "das Gerät ist nicht da"},
	{"device is closed", "das Gerät ist geschlossen"},
	{"device answered garbage", "das Gerät hat etwas Unverständliches geantwortet"},
	{"value not acceptable", "der Wert wird nicht angenommen"},
	{"no such channel", "einen solchen Kanal gibt es nicht"},
}
