Console.WriteLine("edgelora");
