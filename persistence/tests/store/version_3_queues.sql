INSERT INTO session VALUES(7, 'c', 60, 5, 2);
INSERT INTO subscription VALUES(7, '#', 1, NULL);
INSERT INTO message VALUES(1, 't', x'31', x'', 1, 0, NULL, 2);
INSERT INTO message VALUES(2, 'ü/é', x'3200', x'0300027878', 1, 0, NULL, 1);
INSERT INTO queue VALUES(7, 2, 1, 1, 0, x'');
INSERT INTO queue VALUES(7, 4, 1, 1, 0, x'');
INSERT INTO queue VALUES(7, 5, 2, 1, 0, x'');
INSERT INTO queue VALUES(7, 6, 99, 1, 0, x'');
INSERT INTO outbound VALUES(7, 3);
