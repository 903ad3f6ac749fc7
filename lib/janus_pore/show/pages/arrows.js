// The dipoles of the pore's water as arrows in an NGL stage. Returns a function that shows
// those of one frame. Frames keep their components: nglview takes count of removed ones.
function dipoleArrows(NGL, stage, frames) {
  const drawn = [];
  return (k) => {
    drawn.forEach((one, at) => one.setVisibility(at === k));
    if (drawn[k] || !frames[k] || !frames[k].length) return;
    const shape = new NGL.Shape("dipoles " + k, { radialSegments: 12 });
    for (const [tail, head, colour] of frames[k]) shape.addArrow(tail, head, colour, 0.3);
    drawn[k] = stage.addComponentFromObject(shape);
    drawn[k].addRepresentation("buffer");
  };
}
