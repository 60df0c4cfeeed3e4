INSERT INTO session VALUES(7, 'c', 60, NULL);
INSERT INTO subscription VALUES(7, 't/#', 1, NULL);
INSERT INTO message VALUES(1, 't', x'31', x'', 1, 0, NULL, 1);
INSERT INTO message VALUES(2, 't', x'32', x'', 1, 0, NULL, 1);
INSERT INTO queue VALUES(7, 4, 1, 1, 0, x'');
INSERT INTO queue VALUES(7, 5, 2, 1, 0, x'e0930400');
INSERT INTO inbound VALUES(7, 9);
INSERT INTO retained VALUES('r', x'33', x'', 1, 1, NULL);
