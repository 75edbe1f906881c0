"""Names of people, as plain data: one word each, capitalised, no two alike, none that a sentence form also uses.

`FIRST` serves worlds small enough for one-word names; larger worlds pair a first with a last name.
"""

from __future__ import annotations

_FIRST = """
Alice Bob Carol Dan Eve Frank Grace Henry Irene Jack Karen Leo Mona Nick Olga Paul Quinn Rita Sam Tina Uma Victor
Wendy Xavier Yara Zoe Aaron Abby Adam Adele Adrian Agnes Aidan Aisha Alan Albert Alec Alexa Alfred Alina Alma Alvin
Amanda Amber Amelia Amir Amy Ana Anders Andrea Andrew Angela Anita Anna Anton Arthur Ashley Astrid Audrey August
Aurora Barbara Barry Basil Beatrice Becky Bella Ben Bernard Beth Bianca Bill Blake Bonnie Boris Brad Brenda Brian
Bridget Bruce Bruno Bryce Caleb Calvin Camilla Carla Carlos Carmen Casey Cecil Celia Chad Charles Chloe Chris
Cindy Claire Clara Clark Claude Cleo Clive Cody Colin Connor Cora Craig Curtis Cyril Daisy Dale Damian Daphne Darren
Daria David Dawn Dean Deborah Della Denise Dennis Derek Diana Diego Dina Dolores Dominic Donald Donna Dora Doris
Dorothy Douglas Duncan Dwight Earl Edgar Edith Edmund Edward Edwin Eileen Elaine Elena Eli Elias Elisa Ella Ellen
Elliot Elmer Elsa Emil Emily Emma Enid Eric Erica Ernest Erwin Esme Estelle Esther Ethan Eugene Eva Evan Evelyn
Fabian Faith Farah Fatima Felix Fergus Fern Fiona Flora Florence Floyd Frances Fred Freya Gabriel Gail Gareth Gary
Gavin Gemma Gene George Georgia Gerald Gina Gladys Glenn Gloria Gordon Graham Greg Greta Gus Guy Gwen Hamza Hannah
Harold Harriet Harry Harvey Hassan Hazel Heather Hector Heidi Helen Herbert Herman Hilda Holly Homer Hope Howard
Hubert Hugh Hugo Ian Ida Igor Imogen Ina Ingrid Iris Isaac Isabel Isla Ivan Ivy Jacob Jade James Jamie Jan Jane
Janet Jared Jasmine Jason Jay Jean Jeff Jenny Jeremy Jerome Jesse Jessica Jill Joan Joanna Joel John Jonas Jordan
Jorge Joseph Josie Joy Joyce Juan Judith Julia Julian June Justin Kamal Kate Kathy Keith Kelly Ken Kenji Kevin Kim
Kira Kirk Klaus Kurt Kyle Lana Lance Lara Larry Laura Lauren Lawrence Leah Lena Leon Leonard Leroy Leslie Lewis
Liam Lila Lily Linda Lionel Lisa Lloyd Logan Lois Lola Lorna Louis Louise Lucas Lucia Lucy Luis Luke Lydia Lynn
Mabel Maggie Malcolm Manuel Marco Margaret Maria Marie Marina Mario Marion Marta Martin Marvin Mary Mason Matilda
Matthew Maude Maurice Max Maya Megan Melanie Melvin Mercy Mia Michael Miguel Mila Miles Mimi Miranda Miriam Mitchell
Molly Monica Morgan Morris Muriel Murray Myra Nadia Nancy Naomi Natalie Nathan Ned Neil Nellie Nelson Nigel Nina
Noah Noel Nora Norman Olive Oliver Olivia Omar Opal Oscar Otto Owen Paige Pamela Patricia Patrick Paula Pauline
Pearl Pedro Peggy Percy Perry Peter Petra Philip Phoebe Phyllis Pia Pierre Piper Priya Rachel Rafael Ralph Ramona
Ray Rebecca Regina Rex Rhoda Richard Robert Robin Rodney Roger Roland Roman Ronald Rosa Rose Roy Ruby Rufus Rupert
Russell Ruth Ryan Sabrina Sadie Sally Salma Samantha Sandra Sara Saul Scott Sean Selma Serena Seth Shane Sharon
Sheila Shirley Sidney Silvia Simon Sofia Sonia Sophie Stanley Stella Stephen Steven Stuart Susan Sylvester Tamara
Tanya Tara Ted Teresa Terry Tess Thelma Theo Thomas Tim Tobias Todd Tom Tony Tracy Trevor Tristan Troy Tyler Ulrich
Ursula Valerie Vera Vernon Vicky Vince Viola Violet Virgil Virginia Vivian Wade Wallace Walter Wanda Warren Wayne
Wesley Wilbur Wilfred Wilma Winston Wolfgang Yasmin Yolanda Yusuf Yvonne Zack Zara Zelda
"""

_LAST = """
Abbott Acosta Adams Adkins Aguilar Albright Aldridge Alford Allison Alvarez Ames Anderson Andrade Arnold Ashby
Atkins Atwood Austin Avery Ayala Bailey Baird Baldwin Ballard Banks Barber Barker Barlow Barnes Barrett Barron
Bartlett Barton Bates Bauer Baxter Beasley Beck Becker Bender Bennett Benson Bentley Berger Bishop Blackwell
Blair Blanchard Blevins Boone Booth Bowen Bowers Bowman Boyd Boyle Bradford Bradley Bradshaw Brady Brandt Brennan
Brewer Briggs Brooks Brown Browning Bryant Buchanan Buckley Bullock Burch Burgess Burke Burnett Burns Burris Burton
Byers Byrd Cabrera Cain Calderon Caldwell Callahan Cameron Campbell Cannon Cantrell Cantu Cardenas Carlson Carney
Carpenter Carr Carrillo Carson Carver Castillo Castro Chambers Chandler Chaney Chapman Chavez Christensen Church
Clarke Clayton Clements Cleveland Cline Cobb Cochran Coffey Cohen Coleman Collier Collins Combs Compton Conley
Conrad Conway Cooke Cooley Cooper Copeland Cortez Costa Cowan Crane Crawford Crosby Cross Cruz Cummings Cunningham
Dalton Daniels Daugherty Davenport Davidson Davis Dawson Decker Delaney Delgado Dempsey Dickerson Dickson Dillard
Dillon Dixon Dodson Donovan Dorsey Dotson Downs Doyle Drake Dudley Duffy Dunlap Dunn Duran Durham Dyer Eaton Edwards
Elliott Ellis Ellison Emerson England English Erickson Espinoza Estes Estrada Evans Everett Ewing Farley Farmer
Farrell Faulkner Ferguson Fernandez Ferrell Fields Figueroa Finch Finley Fischer Fisher Fitzgerald Fleming Fletcher
Flores Flowers Flynn Foley Forbes Foreman Foster Fowler Foxworth Franco Franklin Frazier Freeman French Frost Fry
Fuentes Fuller Fulton Gaines Gallagher Gallegos Galloway Gamble Garcia Gardner Garner Garrett Garrison Garza Gates
Gibbs Gibson Gilbert Giles Gillespie Gilmore Glass Glover Goff Gomez Gonzalez Good Goodman Goodwin Gould Graves
Gray Greene Greer Griffin Griffith Grimes Gross Guerra Guerrero Guthrie Gutierrez Hahn Haley Hale Hall Hamilton
Hammond Hampton Hancock Haney Hansen Hanson Hardin Harding Hardy Harmon Harper Harrell Harrington Harris Harrison
Hartman Hatfield Hawkins Hayden Hayes Haynes Hebert Henderson Hendricks Henson Hensley Hernandez Herrera Hester
Hewitt Hickman Hicks Higgins Hobbs Hodge Hodges Hoffman Hogan Holcomb Holden Holder Holland Holloway Holman Holmes
Holt Hood Hooper Hoover Hopkins Hopper Horne Horton House Houston Hubbard Huber Hudson Huff Huffman Hughes Humphrey
Hurley Hurst Hutchinson Hyde Ingram Irwin Jackson Jacobs Jacobson Jarvis Jefferson Jenkins Jennings Jensen Jimenez
Johns Johnson Johnston Jones Joyner Juarez Kane Kaufman Keller Kemp Kennedy Kerr Kinney Kirby Kirkland Klein Knapp
Knight Knowles Knox Koch Kramer Lamb Lambert Landry Langley Larsen Larson Lawson Leach Leblanc Levine Levy
Lindsay Lindsey Livingston Locke Logue Lopez Lott Lowe Lowery Lucero Luna Lynch Lyons Macdonald Macias Mack Madden
Maddox Maldonado Malone Mann Manning Marks Marsh Marshall Massey Mathews Maxwell Mayer Maynard Mayo Mccall Mccoy
Mcdaniel Mcguire Mckay Mckee Mclean Meadows Medina Mejia Melendez Melton Mendez Mercer Merrill Merritt Meyer
Middleton Miller Mills Molina Monroe Montoya Moody Moon Mooney Moore Morales Moran Moreno Morrow Morse Morton Moses
Mosley Moss Mueller Mullen Mullins Munoz Murphy Myers Nash Navarro Neal Newman Newton Nguyen Nichols Nicholson
Nielsen Nieves Nixon Noble Nolan Norris Norton Novak Nunez Ochoa Odom Oneal Orr Ortega Ortiz Osborne Owens Pacheco
Padilla Palmer Park Parker Parrish Parsons Patel Patterson Patton Payne Pearson Peck Pena Pennington Perez Perkins
Peters Petersen Phelps Phillips Pickett Pierce Pittman Pitts Pollard Poole Porter Potter Potts Powell Powers Pratt
Preston Prince Pruitt Puckett Pugh Ramirez Ramos Ramsey Randolph Rasmussen Reed Reese Reeves Reilly Reyes Reynolds
"""

FIRST: tuple[str, ...] = tuple(_FIRST.split())
LAST: tuple[str, ...] = tuple(_LAST.split())
